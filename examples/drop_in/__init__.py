"""An app that was written for FastAPI's BackgroundTasks, with one import changed."""

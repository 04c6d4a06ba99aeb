"""The room that finds a part in a photo, and brings it to where good photos have it; knows no network."""

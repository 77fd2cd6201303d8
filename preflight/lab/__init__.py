"""JupyterLab as this product runs it: configuration, launch, saving, login, and what the page shows."""

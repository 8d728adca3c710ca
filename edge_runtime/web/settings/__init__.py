"""What the settings of the page need: changes of the configuration, previews of cameras."""

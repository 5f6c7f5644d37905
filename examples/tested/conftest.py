pytest_plugins = ["structweb.testing.plugin"]

"""The old place of `birefnet_apps.cli`, for one version."""

"""Notifications: what happens is told to people, through webhooks and Apprise, again until it arrives."""

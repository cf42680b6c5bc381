"""What the child processes of the server share: messages, the making of values, RTOC's script library."""

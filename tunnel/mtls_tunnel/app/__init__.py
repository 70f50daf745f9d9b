"""Commands: argv and the environment become a running process, a report, or files.

This is the only room where things are built and wired together (`server`), where signals are taken,
and where text is printed for people.  Nothing below it knows of the command line.
"""

"""Configuration: YAML text becomes frozen values, complete and checked, or a list of everything that is wrong.

The way of the data: `yaml_source` (text -> nodes that know their place) -> `fields` (one key at a time) ->
`sections`, `routing`, `tunnels` (nodes -> values) -> `clashes` (what only shows between sections) -> `load`; back:
`dump`.
`addresses`, `durations` and `patterns` judge single strings; `findings` gathers what is wrong.
`schema` holds the values and every default.

Forbidden inside: opening files, sockets, clocks, logging.  Names that others use: `load.load`, `load.Source`,
`load.Loaded`, `dump.dump`, `durations.parse`, `durations.text`, and the values of `schema`.
"""

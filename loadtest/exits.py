"""How the commands of the load test end, beside 0 for all well."""

#: A goal was missed or a promise broken; nothing could be run; somebody stopped it.
MISSED, UNUSABLE, STOPPED = 1, 2, 130

module splittoken.dev/tests/paths

go 1.26.0

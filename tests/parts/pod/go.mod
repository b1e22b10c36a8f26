module splittoken.dev/tests/pod

go 1.25.0

module tidegate.test/demo

go 1.26.0

module whatomate-gateway.example/identity

go 1.19

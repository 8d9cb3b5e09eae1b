// A service of net/http behind the gateway: go run ./examples/service
package main

import (
	"encoding/json"
	"log"
	"net/http"
	"os"

	identity "whatomate-gateway.example/identity"
)

func main() {
	verifier := identity.NewVerifier(&identity.KeySet{URL: os.Getenv("KEYS_URL")}, os.Getenv("AUDIENCE"))
	bills := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		answer := map[string]any{"user": nil, "name": nil, "plain": r.Header.Get("X-User-Name"), "may": false}
		if who := identity.FromContext(r.Context()); who != nil {
			answer["user"], answer["name"], answer["may"] = who.UserID, who.Name, who.May("chat:read")
		}
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(answer)
	})
	log.Fatal(http.ListenAndServe("127.0.0.1:"+os.Getenv("PORT"), identity.Middleware(verifier, "/healthz")(bills)))
}

// Sends one request with the default client, and with a custom transport that keeps the proxy of the environment.
package main

import (
	"fmt"
	"io"
	"net/http"
	"os"
)

func main() {
	client := http.DefaultClient
	if os.Args[2] == "transport" {
		client = &http.Client{Transport: &http.Transport{Proxy: http.ProxyFromEnvironment}}
	}
	request, err := http.NewRequest("GET", os.Args[1], nil)
	if err != nil {
		fail(err)
	}
	request.Header.Set("Authorization", "Bearer "+os.Getenv("API_KEY"))
	answer, err := client.Do(request)
	if err != nil {
		fail(err)
	}
	if _, err := io.Copy(os.Stdout, answer.Body); err != nil {
		fail(err)
	}
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}

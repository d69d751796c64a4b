// Command health tells what the tools that people already use make of an object: kstatus (Helm, kubectl apply sets,
// kpt), Flux by its health check expressions, and Argo CD by its custom health check.
//
// It reads objects as JSON, one after the other, and answers each by a line of JSON. Flux and kstatus are their own
// code; Lua runs in Argo CD's interpreter, with no more libraries than Argo CD opens for a check of argocd-cm.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"io"
	"log"
	"os"

	"github.com/fluxcd/cli-utils/pkg/kstatus/status"
	"github.com/fluxcd/pkg/apis/kustomize"
	flux "github.com/fluxcd/pkg/runtime/cel"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

type said struct {
	Status  string `json:"status"`
	Message string `json:"message,omitempty"`
	Error   string `json:"error,omitempty"`
}

type answer struct {
	Kstatus said `json:"kstatus"`
	Flux    said `json:"flux"`
	Argo    said `json:"argo"`
}

func main() {
	script := flag.String("lua", "", "Argo CD's health check: a file with the Lua")
	expressions := flag.String("flux", "", "Flux's health check: a file with JSON, one entry of healthCheckExprs")
	flag.Parse()
	if err := run(*script, *expressions); err != nil {
		log.Fatal(err)
	}
}

func run(script, expressions string) error {
	source, err := os.ReadFile(script)
	if err != nil {
		return err
	}
	evaluator, err := fluxEvaluator(expressions)
	if err != nil {
		return err
	}
	in, out := json.NewDecoder(os.Stdin), json.NewEncoder(os.Stdout)
	for {
		object := &unstructured.Unstructured{}
		var raw json.RawMessage
		if err := in.Decode(&raw); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		// Not encoding/json: numbers must be what an API client makes of them, int64 where they are whole.
		if err := object.UnmarshalJSON(raw); err != nil {
			return err
		}
		told := answer{Argo: argo(string(source), object)}
		told.Kstatus = result(status.Compute(object))
		told.Flux = result(evaluator.Evaluate(context.Background(), object))
		if err := out.Encode(told); err != nil {
			return err
		}
	}
}

func fluxEvaluator(file string) (*flux.StatusEvaluator, error) {
	source, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var check kustomize.CustomHealthCheck
	if err := json.Unmarshal(source, &check); err != nil {
		return nil, err
	}
	return flux.NewStatusEvaluator(&check.HealthCheckExpressions)
}

func result(found *status.Result, err error) said {
	if err != nil {
		return said{Error: err.Error()}
	}
	return said{Status: string(found.Status), Message: found.Message}
}

// Says what Kubernetes' own PodSecurity admission has against a pod template: one line for each reason, nothing where it is allowed.
// It reads one JSON object from standard input: {"metadata": …, "spec": …} as in a pod template. The level is its only argument.
package main

import (
	"encoding/json"
	"fmt"
	"os"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/pod-security-admission/api"
	"k8s.io/pod-security-admission/policy"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "podsecurity:", err)
		os.Exit(2)
	}
}

func run() error {
	if len(os.Args) != 2 {
		return fmt.Errorf("usage: podsecurity LEVEL")
	}
	level, err := api.ParseLevel(os.Args[1])
	if err != nil {
		return err
	}
	var template corev1.PodTemplateSpec
	if err := json.NewDecoder(os.Stdin).Decode(&template); err != nil {
		return err
	}
	evaluator, err := policy.NewEvaluator(policy.DefaultChecks())
	if err != nil {
		return err
	}
	wanted := api.LevelVersion{Level: level, Version: api.LatestVersion()}
	for _, result := range evaluator.EvaluatePod(wanted, &template.ObjectMeta, &template.Spec) {
		if !result.Allowed {
			fmt.Printf("%s: %s\n", result.ForbiddenReason, result.ForbiddenDetail)
		}
	}
	return nil
}

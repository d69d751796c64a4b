// Command kubernetes is every server of a Kubernetes cluster in one program.
//
// The Kubernetes modules on the Go proxy carry no binaries, so the test cluster compiles them. One
// program, which looks at the name it is called by, links in a third of the time (and to a third of the
// size) of six. Symlinks named after the components select the component.
package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/coredns/caddy"
	_ "github.com/coredns/coredns/core/dnsserver"
	_ "github.com/coredns/coredns/plugin/bind"
	_ "github.com/coredns/coredns/plugin/cache"
	_ "github.com/coredns/coredns/plugin/errors"
	_ "github.com/coredns/coredns/plugin/kubernetes"
	"github.com/spf13/cobra"
	"go.etcd.io/etcd/server/v3/etcdmain"
	"k8s.io/component-base/cli"
	_ "k8s.io/component-base/logs/json/register"
	_ "k8s.io/component-base/metrics/prometheus/clientgo"
	_ "k8s.io/component-base/metrics/prometheus/version"
	apiserver "k8s.io/kubernetes/cmd/kube-apiserver/app"
	controllermanager "k8s.io/kubernetes/cmd/kube-controller-manager/app"
	proxy "k8s.io/kubernetes/cmd/kube-proxy/app"
	scheduler "k8s.io/kubernetes/cmd/kube-scheduler/app"
	kubelet "k8s.io/kubernetes/cmd/kubelet/app"
)

func main() {
	var command *cobra.Command
	switch name := filepath.Base(os.Args[0]); name {
	case "etcd":
		etcdmain.Main(os.Args)
		return
	case "coredns":
		serveNames(os.Args[1])
		return
	case "kube-apiserver":
		command = apiserver.NewAPIServerCommand()
	case "kube-controller-manager":
		command = controllermanager.NewControllerManagerCommand()
	case "kube-scheduler":
		command = scheduler.NewSchedulerCommand()
	case "kube-proxy":
		command = proxy.NewProxyCommand()
	case "kubelet":
		command = kubelet.NewKubeletCommand(context.Background())
	default:
		fmt.Fprintf(os.Stderr, "call this program by the name of a component, not %q\n", name)
		os.Exit(2)
	}
	os.Exit(cli.Run(command))
}

// serveNames runs the cluster's DNS from a Corefile. The server type is started directly and not through
// CoreDNS's coremain package, whose global flags (among them -version) the other components would inherit.
func serveNames(path string) {
	corefile, err := os.ReadFile(path)
	if err == nil {
		caddy.TrapSignals()
		var instance *caddy.Instance
		instance, err = caddy.Start(caddy.CaddyfileInput{Contents: corefile, Filepath: path, ServerTypeName: "dns"})
		if err == nil {
			instance.Wait()
			return
		}
	}
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}

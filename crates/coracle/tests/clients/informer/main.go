// A small operator: of several copies one is elected by a lease, and its shared informer copies every ConfigMap that is
// labelled so into a Secret of the same name.
//
// usage: informer NAME NAMESPACE (KUBECONFIG says where)
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	core "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/errors"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/leaderelection"
	"k8s.io/client-go/tools/leaderelection/resourcelock"
)

func main() {
	name, namespace := os.Args[1], os.Args[2]
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	config, err := clientcmd.BuildConfigFromFlags("", os.Getenv("KUBECONFIG"))
	check(err)
	client, err := kubernetes.NewForConfig(config)
	check(err)
	lock := &resourcelock.LeaseLock{
		LeaseMeta:  meta.ObjectMeta{Name: "copier", Namespace: namespace},
		Client:     client.CoordinationV1(),
		LockConfig: resourcelock.ResourceLockConfig{Identity: name},
	}
	leaderelection.RunOrDie(ctx, leaderelection.LeaderElectionConfig{
		Lock:          lock,
		LeaseDuration: 6 * time.Second,
		RenewDeadline: 4 * time.Second,
		RetryPeriod:   500 * time.Millisecond,
		Callbacks: leaderelection.LeaderCallbacks{
			OnStartedLeading: func(ctx context.Context) { lead(ctx, client, name, namespace) },
			OnStoppedLeading: func() { fmt.Println(name, "stopped") },
			OnNewLeader:      func(leader string) { fmt.Println(name, "sees", leader) },
		},
	})
}

func lead(ctx context.Context, client kubernetes.Interface, name, namespace string) {
	fmt.Println(name, "leads")
	onlyMarked := informers.WithTweakListOptions(func(options *meta.ListOptions) { options.LabelSelector = "copy=yes" })
	factory := informers.NewSharedInformerFactoryWithOptions(client, time.Minute, informers.WithNamespace(namespace), onlyMarked)
	informer := factory.Core().V1().ConfigMaps().Informer()
	put := func(object any) {
		source := object.(*core.ConfigMap)
		secret := &core.Secret{ObjectMeta: meta.ObjectMeta{Name: source.Name}, StringData: source.Data}
		_, err := client.CoreV1().Secrets(namespace).Create(ctx, secret, meta.CreateOptions{})
		if errors.IsAlreadyExists(err) {
			_, err = client.CoreV1().Secrets(namespace).Update(ctx, secret, meta.UpdateOptions{})
		}
		fmt.Println(name, "put", source.Name, err)
	}
	_, err := informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    put,
		UpdateFunc: func(_, object any) { put(object) },
		DeleteFunc: func(object any) {
			gone, err := cache.DeletionHandlingMetaNamespaceKeyFunc(object)
			check(err)
			_, key, err := cache.SplitMetaNamespaceKey(gone)
			check(err)
			fmt.Println(name, "delete", key, client.CoreV1().Secrets(namespace).Delete(ctx, key, meta.DeleteOptions{}))
		},
	})
	check(err)
	factory.Start(ctx.Done())
	factory.WaitForCacheSync(ctx.Done())
	fmt.Println(name, "synced", len(informer.GetStore().List()))
	<-ctx.Done()
}

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

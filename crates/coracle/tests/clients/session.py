"""A session of the official Python client: typed objects, watches, patches, custom resources, exec."""

import sys
import threading

from kubernetes import client, config, dynamic, stream, utils, watch

NAMESPACE = "python"


def main(image):
    config.load_kube_config()
    core, apps = client.CoreV1Api(), client.AppsV1Api()
    core.create_namespace(client.V1Namespace(metadata=client.V1ObjectMeta(name=NAMESPACE)))

    seen = []
    watching = watch.Watch()
    begun = core.list_namespaced_config_map(NAMESPACE).metadata.resource_version

    def follow():
        for event in watching.stream(core.list_namespaced_config_map, NAMESPACE, label_selector="app=shop", resource_version=begun, timeout_seconds=60):
            seen.append((event["type"], event["object"].data))
            if event["type"] == "DELETED":
                watching.stop()

    follower = threading.Thread(target=follow)
    follower.start()
    settings = client.V1ConfigMap(metadata=client.V1ObjectMeta(name="settings", labels={"app": "shop"}), data={"colour": "teal"})
    core.create_namespaced_config_map(NAMESPACE, settings)
    core.patch_namespaced_config_map("settings", NAMESPACE, {"data": {"colour": "plum"}})
    settings = core.read_namespaced_config_map("settings", NAMESPACE)
    assert settings.data == {"colour": "plum"}, settings.data
    stale = client.V1ConfigMap(metadata=client.V1ObjectMeta(name="settings", resource_version="1"), data={})
    try:
        core.replace_namespaced_config_map("settings", NAMESPACE, stale)
        raise AssertionError("a stale write was taken")
    except client.ApiException as refused:
        assert refused.status == 409, refused
    core.delete_namespaced_config_map("settings", NAMESPACE)
    follower.join()
    kinds = [kind for kind, _ in seen]
    assert kinds[0] == "ADDED" and kinds[-1] == "DELETED" and ("MODIFIED", {"colour": "plum"}) in seen, seen
    print("watched", len(seen), "events")

    labels = {"app": "web"}
    container = {"name": "web", "image": image, "ports": [{"containerPort": 8080}],
                 "readinessProbe": {"httpGet": {"path": "/healthz", "port": 8080}, "periodSeconds": 1}}
    utils.create_from_dict(client.ApiClient(), {
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"},
        "spec": {"replicas": 1, "selector": {"matchLabels": labels},
                 "template": {"metadata": {"labels": labels}, "spec": {"containers": [container]}}},
    }, namespace=NAMESPACE)
    apps.patch_namespaced_deployment_scale("web", NAMESPACE, {"spec": {"replicas": 2}})
    for event in watch.Watch().stream(apps.list_namespaced_deployment, NAMESPACE, timeout_seconds=60):
        if event["object"].status.ready_replicas == 2:
            break
    else:
        raise AssertionError("the deployment did not become ready")
    pods = core.list_namespaced_pod(NAMESPACE, label_selector="app=web").items
    assert len(pods) == 2, pods
    said = stream.stream(core.connect_get_namespaced_pod_exec, pods[0].metadata.name, NAMESPACE,
                         command=["/hello", "version"], stdout=True, stderr=True, stdin=False, tty=False)
    assert said.strip() == "1", said
    assert "ready" in core.read_namespaced_pod_log(pods[0].metadata.name, NAMESPACE)
    print("deployed, scaled, entered")

    client.ApiextensionsV1Api().create_custom_resource_definition({
        "metadata": {"name": "lamps.example.com"},
        "spec": {"group": "example.com", "scope": "Namespaced",
                 "names": {"plural": "lamps", "singular": "lamp", "kind": "Lamp"},
                 "versions": [{"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": {
                     "type": "object", "properties": {"spec": {"type": "object", "properties": {
                         "watts": {"type": "integer", "minimum": 1}, "colour": {"type": "string", "default": "warm"}}}}}}}]},
    })
    for event in watch.Watch().stream(client.ApiextensionsV1Api().list_custom_resource_definition, timeout_seconds=60):
        conditions = event["object"].status.conditions or []
        if event["object"].metadata.name == "lamps.example.com" and any(c.type == "Established" and c.status == "True" for c in conditions):
            break
    lamps = dynamic.DynamicClient(client.ApiClient()).resources.get(api_version="example.com/v1", kind="Lamp")
    lamp = {"apiVersion": "example.com/v1", "kind": "Lamp", "metadata": {"name": "desk"}, "spec": {"watts": 5}}
    made = lamps.create(body=lamp, namespace=NAMESPACE)
    assert made.spec.colour == "warm", made
    applied = lamps.server_side_apply(
        body={"apiVersion": "example.com/v1", "kind": "Lamp", "metadata": {"name": "desk"}, "spec": {"colour": "cold"}},
        namespace=NAMESPACE, field_manager="python", force_conflicts=True)
    assert (applied.spec.watts, applied.spec.colour) == (5, "cold"), applied
    try:
        lamps.create(body={**lamp, "metadata": {"name": "dark"}, "spec": {"watts": 0}}, namespace=NAMESPACE)
        raise AssertionError("an invalid lamp was taken")
    except dynamic.exceptions.UnprocessibleEntityError as refused:
        assert "spec.watts" in str(refused.body), refused.body
    print("defined lamps")
    core.delete_namespace(NAMESPACE)


main(sys.argv[1])

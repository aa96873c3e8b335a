//! What every namespace has: a service account `default`, and the authority's certificate for pods to trust the API by.

use std::{collections::BTreeMap, fmt::Debug, sync::Arc};

use coracle_client::{AbortOnDrop, Cache, Feed, Key, Named, follow};
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, ServiceAccount};
use kube::{
    Api, Resource,
    api::{ObjectMeta, Patch},
};
use serde::de::DeserializeOwned;
use serde_json::json;

use crate::{
    control::{Action, Context, Controller, Error},
    owner::{is_deleting, patch_params, post_params},
    replicaset::is_namespace_terminating,
};

const ACCOUNT: &str = "default";
const CERTIFICATE: &str = "kube-root-ca.crt";
const DESCRIPTION: &str = "Contains a CA bundle that can be used to verify the kube-apiserver when using internal endpoints \
                           such as the internal service IP or kubernetes.default.svc. No other usage is guaranteed across \
                           distributions of Kubernetes clusters.";

struct ServiceAccounts {
    context: Context,
    authority_pem: String,
    namespaces: Cache<Namespace>,
    accounts: Cache<ServiceAccount>,
    config_maps: Cache<ConfigMap>,
}

/// Runs the controller. `authority_pem` is the certificate of the authority that signed the API server's.
pub async fn run(context: Context, authority_pem: String) {
    let namespaces: Cache<Namespace> = context.caches.of();
    // Only these: the others, of which there may be many and large ones, are nobody's business here.
    let (accounts, _accounts_feed) = named_only::<ServiceAccount>(&context, ACCOUNT);
    let (config_maps, _config_maps_feed) = named_only::<ConfigMap>(&context, CERTIFICATE);
    let controller = Controller::new("serviceaccount-controller")
        .watch_own(&namespaces)
        .watch(&accounts, |change| vec![namespace_of(&**change.object())])
        .watch(&config_maps, |change| vec![namespace_of(&**change.object())]);
    namespaces.filled().await;
    accounts.filled().await;
    config_maps.filled().await;
    let this = Arc::new(ServiceAccounts { context, authority_pem, namespaces, accounts, config_maps });
    controller
        .run(|key| {
            let this = Arc::clone(&this);
            async move { this.reconcile(key).await }
        })
        .await;
}

/// A cache of the objects of one name in all namespaces, fed as long as the feed is kept.
fn named_only<K>(context: &Context, name: &'static str) -> (Cache<K>, AbortOnDrop)
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + Sync + 'static,
{
    let cache = Cache::new();
    let source = Named(Api::all(context.client.clone()), name);
    let feed = coracle_tasks::spawn("serviceaccount-controller", follow(source, Feed(cache.clone())));
    (cache, AbortOnDrop(feed))
}

fn namespace_of(object: &impl Resource) -> Key {
    Key::new("", object.meta().namespace.as_deref().unwrap_or_default())
}

impl ServiceAccounts {
    async fn reconcile(&self, key: Key) -> Result<Action, Error> {
        let active = self.namespaces.get(&key).filter(|namespace| !is_deleting(&**namespace));
        if active.is_none() {
            return Ok(Action::Done);
        }
        let made = match self.ensure_account(&key.name).await {
            Ok(()) => self.ensure_certificate(&key.name).await,
            failed => failed,
        };
        match made {
            Err(Error::Api(kube::Error::Api(status)))
                if is_namespace_terminating(&status) || status.is_already_exists() =>
            {
                Ok(Action::Done)
            }
            made => made.map(|()| Action::Done),
        }
    }

    async fn ensure_account(&self, namespace: &str) -> Result<(), Error> {
        if self.accounts.get(&Key::new(namespace, ACCOUNT)).is_some() {
            return Ok(());
        }
        let account = ServiceAccount { metadata: named(ACCOUNT), ..ServiceAccount::default() };
        let api: Api<ServiceAccount> = Api::namespaced(self.context.client.clone(), namespace);
        self.accounts.observe(api.create(&post_params(), &account).await?);
        Ok(())
    }

    async fn ensure_certificate(&self, namespace: &str) -> Result<(), Error> {
        let data = BTreeMap::from([("ca.crt".to_owned(), self.authority_pem.clone())]);
        let api: Api<ConfigMap> = Api::namespaced(self.context.client.clone(), namespace);
        match self.config_maps.get(&Key::new(namespace, CERTIFICATE)) {
            Some(known) if known.data.as_ref() == Some(&data) => {}
            Some(_) => {
                let patch = json!({"data": data});
                self.config_maps.observe(api.patch(CERTIFICATE, &patch_params(), &Patch::Merge(patch)).await?);
            }
            None => {
                let mut metadata = named(CERTIFICATE);
                metadata.annotations = Some([("kubernetes.io/description".to_owned(), DESCRIPTION.to_owned())].into());
                let config_map = ConfigMap { metadata, data: Some(data), ..ConfigMap::default() };
                self.config_maps.observe(api.create(&post_params(), &config_map).await?);
            }
        }
        Ok(())
    }
}

fn named(name: &str) -> ObjectMeta {
    ObjectMeta { name: Some(name.to_owned()), ..ObjectMeta::default() }
}

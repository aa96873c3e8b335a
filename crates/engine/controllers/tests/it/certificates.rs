//! Certificate requests from the question to a certificate that opens the door.

use std::{io::Write, process::Command, sync::Arc};

use base64::{Engine, engine::general_purpose::STANDARD};
use coracle_apiserver::{
    Options, Server, User,
    authz::{MastersOr, StoredRbac},
};
use coracle_certs::{Authority, LeafRequest, ReloadingIdentity, Usage};
use coracle_client::AbortOnDrop;
use coracle_clock::SystemClock;
use coracle_controllers::Context;
use coracle_store::Store;
use jiff::SignedDuration;
use k8s_openapi::api::{authentication::v1::SelfSubjectReview, certificates::v1::CertificateSigningRequest};
use kube::{
    Api, Client,
    api::{Patch, PatchParams, PostParams},
    config::Kubeconfig,
};
use rcgen::{CertificateParams, DnType, KeyPair};
use rustls::pki_types::{CertificateDer, pem::PemObject};
use serde_json::{Value, json};

use crate::cluster::{eventually, options};

struct Doors {
    server: Server,
    address: String,
    authority: Arc<Authority>,
    _running: [AbortOnDrop; 2],
}

impl Doors {
    /// A server with roles, behind TLS of an authority that also signs requests.
    async fn open() -> Self {
        rustls::crypto::ring::default_provider().install_default().ok();
        let authority = Arc::new(Authority::ephemeral("ca", &SystemClock).unwrap());
        let store = Store::in_memory();
        let authorizer = Arc::new(MastersOr(StoredRbac::new(store.clone())));
        let server = Server::start(store, Options { authorizer, ..options() }).await.unwrap();
        let context =
            Context::new(Client::new(server.client_service(User::engine()), "default"), Arc::new(SystemClock));
        let context = context.with_authority(authority.clone());
        let leaf = LeafRequest {
            common_name: "server".into(),
            organizations: vec![],
            alternative_names: vec!["127.0.0.1".into()],
            usage: Usage::Server,
            valid_for: SignedDuration::from_hours(1),
        };
        let mut roots = rustls::RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(authority.certificate_pem().as_bytes()).unwrap()).unwrap();
        let clients = rustls::server::WebPkiClientVerifier::builder(Arc::new(roots)).allow_unauthenticated();
        let identity = ReloadingIdentity::new(&authority.issue(&leaf, &SystemClock).unwrap()).unwrap();
        let tls = rustls::ServerConfig::builder()
            .with_client_cert_verifier(clients.build().unwrap())
            .with_cert_resolver(identity);
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("https://{}", listener.local_addr().unwrap());
        let serving = server.clone();
        let running = [
            coracle_tasks::spawn("api", async move { serving.serve_tls(listener, Arc::new(tls)).await }),
            coracle_tasks::spawn("certificates", coracle_controllers::certificates::run(context)),
        ];
        Self { server, address, authority, _running: running.map(AbortOnDrop) }
    }

    fn as_user(&self, user: User) -> Api<CertificateSigningRequest> {
        Api::all(Client::new(self.server.client_service(user), "default"))
    }

    fn requests(&self) -> Api<CertificateSigningRequest> {
        self.as_user(User::engine())
    }

    /// A kubeconfig for whoever has a certificate.
    fn kubeconfig(&self, certificate: &[u8], key: &KeyPair) -> String {
        json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "c",
            "contexts": [{"name": "c", "context": {"cluster": "a", "user": "u"}}],
            "clusters": [{"name": "a", "cluster": {"server": self.address,
                "certificate-authority-data": STANDARD.encode(self.authority.certificate_pem())}}],
            "users": [{"name": "u", "user": {"client-certificate-data": STANDARD.encode(certificate),
                "client-key-data": STANDARD.encode(key.serialize_pem())}}],
        })
        .to_string()
    }

    async fn certificate(&self, name: &str) -> Vec<u8> {
        let requests = self.requests();
        let issued = async || {
            let status = requests.get(name).await.unwrap().status?;
            status.certificate.map(|certificate| certificate.0)
        };
        eventually("the certificate", || async { issued().await.is_some() }).await;
        issued().await.unwrap()
    }
}

fn request(name: &str, signer: &str, subject: (&str, &str), usages: Value, key: &KeyPair) -> CertificateSigningRequest {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.distinguished_name.push(DnType::OrganizationName, subject.0);
    params.distinguished_name.push(DnType::CommonName, subject.1);
    let pem = params.serialize_request(key).unwrap().pem().unwrap();
    let spec =
        json!({"request": STANDARD.encode(pem), "signerName": signer, "usages": usages, "expirationSeconds": 3600});
    serde_json::from_value(json!({"metadata": {"name": name}, "spec": spec})).unwrap()
}

const CLIENTS: &str = "kubernetes.io/kube-apiserver-client";
const NODES: &str = "kubernetes.io/kube-apiserver-client-kubelet";

#[tokio::test(flavor = "multi_thread")]
async fn an_approved_request_becomes_a_certificate_that_opens_the_door() {
    let doors = Doors::open().await;
    let key = KeyPair::generate().unwrap();
    let usages = json!(["client auth", "digital signature"]);
    let kims = request("kim", CLIENTS, ("devs", "kim"), usages.clone(), &key);
    let made = doors.requests().create(&PostParams::default(), &kims).await.unwrap();
    assert_eq!(made.spec.username.as_deref(), Some("system:coracle"));
    let approval =
        Patch::Merge(json!({"status": {"conditions": [{"type": "Approved", "status": "True", "reason": "r"}]}}));
    let stranger = doors.as_user(User::new("stranger", ["system:kube-controller-manager"]));
    assert!(stranger.patch_approval("kim", &PatchParams::default(), &approval).await.is_err());
    let admin_key = KeyPair::generate().unwrap();
    let admins = request("admin", "example.com/x", ("system:masters", "admin"), usages.clone(), &admin_key);
    doors.requests().create(&PostParams::default(), &admins).await.unwrap();

    // kubectl, where there is one, with a certificate of the authority's own making.
    let leaf = LeafRequest {
        common_name: "admin".into(),
        organizations: vec!["system:masters".into()],
        alternative_names: vec![],
        usage: Usage::Client,
        valid_for: SignedDuration::from_hours(1),
    };
    let admin = doors.authority.issue(&leaf, &SystemClock).unwrap();
    let admin_pair = KeyPair::from_pem(&admin.key_pem).unwrap();
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(doors.kubeconfig(admin.certificate_pem.as_bytes(), &admin_pair).as_bytes()).unwrap();
    let path = file.path().to_owned();
    let approve =
        move || Command::new("kubectl").args(["certificate", "approve", "kim", "--kubeconfig"]).arg(path).output();
    match tokio::task::spawn_blocking(approve).await.unwrap() {
        Ok(output) => {
            let said = String::from_utf8_lossy(&output.stdout).into_owned();
            assert!(said.contains("kim approved"), "{said}{}", String::from_utf8_lossy(&output.stderr));
        }
        Err(_) => {
            eprintln!("there is no kubectl: approved without it");
            doors.requests().patch_approval("kim", &PatchParams::default(), &approval).await.unwrap();
        }
    }
    let certificate = doors.certificate("kim").await;
    let kubeconfig = Kubeconfig::from_yaml(&doors.kubeconfig(&certificate, &key)).unwrap();
    let config = kube::Config::from_custom_kubeconfig(kubeconfig, &Default::default()).await.unwrap();
    let client = Client::try_from(config).unwrap();
    let review =
        Api::<SelfSubjectReview>::all(client).create(&PostParams::default(), &Default::default()).await.unwrap();
    let user = review.status.unwrap().user_info.unwrap();
    assert_eq!(
        (user.username.as_deref(), user.groups.unwrap()),
        (Some("kim"), vec!["devs".to_owned(), "system:authenticated".to_owned()])
    );

    let other = doors.requests().get("admin").await.unwrap();
    assert!(other.status.unwrap_or_default().certificate.is_none(), "signers of others are left alone");
    let masters = request("masters", CLIENTS, ("system:masters", "root"), usages, &key);
    let refused = doors.requests().create(&PostParams::default(), &masters).await.unwrap_err().to_string();
    assert!(
        refused.contains("use of kubernetes.io/kube-apiserver-client signer with system:masters group is not allowed"),
        "{refused}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_nodes_request_needs_nobody_and_a_wrong_one_fails() {
    let doors = Doors::open().await;
    let client = Client::new(doors.server.client_service(User::engine()), "default");
    for role in ["system:node-bootstrapper", "system:certificates.k8s.io:certificatesigningrequests:nodeclient"] {
        let binding = json!({
            "metadata": {"name": role.replace(':', "-")}, "roleRef": {"kind": "ClusterRole", "name": role, "apiGroup": "rbac.authorization.k8s.io"},
            "subjects": [{"kind": "Group", "name": "system:bootstrappers", "apiGroup": "rbac.authorization.k8s.io"}],
        });
        let bindings: Api<k8s_openapi::api::rbac::v1::ClusterRoleBinding> = Api::all(client.clone());
        bindings.create(&PostParams::default(), &serde_json::from_value(binding).unwrap()).await.unwrap();
    }
    let newcomer = doors.as_user(User::new("system:bootstrap:abcdef", ["system:bootstrappers"]));
    let key = KeyPair::generate().unwrap();
    let usages = json!(["client auth", "digital signature", "key encipherment"]);
    let node = request("node", NODES, ("system:nodes", "system:node:n1"), usages.clone(), &key);
    newcomer.create(&PostParams::default(), &node).await.unwrap();
    doors.certificate("node").await;
    let approved = doors.requests().get("node").await.unwrap().status.unwrap().conditions.unwrap().remove(0);
    assert_eq!((approved.type_.as_str(), approved.reason.as_deref()), ("Approved", Some("AutoApproved")));
    assert!(approved.last_update_time.is_some());

    // Not a node's: it waits for a person, and then turns out to be wrong.
    let other = request("other", NODES, ("devs", "kim"), usages, &key);
    doors.requests().create(&PostParams::default(), &other).await.unwrap();
    let approval =
        Patch::Merge(json!({"status": {"conditions": [{"type": "Approved", "status": "True", "reason": "r"}]}}));
    doors.requests().patch_approval("other", &PatchParams::default(), &approval).await.unwrap();
    let requests = doors.requests();
    let failure = async || {
        let conditions = requests.get("other").await.unwrap().status.unwrap_or_default().conditions.unwrap_or_default();
        conditions.into_iter().find(|condition| condition.type_ == "Failed").and_then(|condition| condition.message)
    };
    eventually("the failure", || async { failure().await.is_some() }).await;
    assert_eq!(failure().await.as_deref(), Some("subject organization is not system:nodes"));
}

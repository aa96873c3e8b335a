//! Tokens that another server knows: it is asked with a TokenReview, and its answers are good for a while.

use std::{collections::HashMap, sync::Arc, time::Duration};

use base64::{Engine, engine::general_purpose::STANDARD};
use coracle_certs::Identity;
use futures::future::BoxFuture;
use parking_lot::Mutex;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::{Found, TokenAuthenticator, User, Verdict, config::WebhookSettings, digest_of};
use crate::{
    reach::Reach,
    remote::{Remote, RemoteError, Trust},
};

const PATIENCE: Duration = Duration::from_secs(10);
/// As upstream tries: so often, with pauses that grow by half.
const ATTEMPTS: u32 = 5;
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const ANSWERS_KEPT: usize = 4096;

/// What was answered, and until when it is believed.
type Answer = (Instant, Option<Found>);

/// See the module.
pub struct WebhookTokens {
    remote: Remote,
    life: Duration,
    answers: Mutex<HashMap<[u8; 32], Answer>>,
}

impl WebhookTokens {
    /// A server by its description; what is wrong with that, in words.
    pub fn new(settings: &WebhookSettings, reach: &Reach) -> Result<Self, String> {
        let remote = remote(&settings.kubeconfig, reach).map_err(|problem| format!("token webhook: {problem}"))?;
        Ok(Self { remote, life: Duration::from_secs(settings.cache_seconds), answers: Mutex::default() })
    }

    async fn check(&self, token: &str, audiences: &[String]) -> Verdict {
        let key = digest_of(&format!("{token}\n{}", audiences.join("\n")));
        let known = self.answers.lock().get(&key).filter(|(until, _)| *until > Instant::now()).cloned();
        if let Some((_, answer)) = known {
            return Ok(answer);
        }
        let answer = read(&self.ask(token, audiences).await?)?;
        let mut answers = self.answers.lock();
        if answers.len() >= ANSWERS_KEPT {
            let now = Instant::now();
            answers.retain(|_, (until, _)| *until > now);
            if answers.len() >= ANSWERS_KEPT {
                answers.clear();
            }
        }
        answers.insert(key, (Instant::now() + self.life, answer.clone()));
        Ok(answer)
    }

    async fn ask(&self, token: &str, audiences: &[String]) -> Result<Value, String> {
        let review = json!({
            "apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview",
            "spec": {"token": token, "audiences": audiences},
        });
        let mut pause = FIRST_PAUSE;
        for attempt in 1.. {
            match self.remote.post(review.to_string().into_bytes(), PATIENCE).await {
                Ok(answer) => return Ok(answer),
                Err(RemoteError::Connection(..)) if attempt < ATTEMPTS => {
                    tokio::time::sleep(pause).await;
                    pause = pause * 3 / 2;
                }
                Err(error) => return Err(format!("failed to make webhook authenticator request: {error}")),
            }
        }
        unreachable!("the loop ends by its own count")
    }
}

impl TokenAuthenticator for WebhookTokens {
    fn authenticate<'a>(&'a self, token: &'a str, audiences: &'a [String]) -> BoxFuture<'a, Verdict> {
        Box::pin(self.check(token, audiences))
    }
}

fn read(review: &Value) -> Verdict {
    let status = &review["status"];
    if status["authenticated"] != json!(true) {
        return match status["error"].as_str().unwrap_or_default() {
            "" => Ok(None),
            problem => Err(problem.to_owned()),
        };
    }
    let texts = |value: &Value| -> Vec<String> {
        value.as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
    };
    let user = &status["user"];
    let text = |field: &str| user[field].as_str().unwrap_or_default().to_owned();
    let mut found = User::new(text("username"), texts(&user["groups"]));
    found.uid = text("uid");
    let extra = user["extra"].as_object().into_iter().flatten();
    found.extra = extra.map(|(key, values)| (key.clone(), texts(values))).collect();
    // A server that knows of audiences says which it checked.
    let audiences = status["audiences"].is_array().then(|| texts(&status["audiences"]));
    Ok(Some(Found { user: Arc::new(found), audiences }))
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Kubeconfig {
    #[serde(default)]
    clusters: Vec<NamedCluster>,
    #[serde(default)]
    users: Vec<NamedUser>,
    #[serde(default)]
    contexts: Vec<NamedContext>,
    #[serde(default)]
    current_context: String,
}

#[derive(Deserialize)]
struct NamedCluster {
    name: String,
    cluster: Cluster,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Cluster {
    server: String,
    certificate_authority: Option<String>,
    certificate_authority_data: Option<String>,
    #[serde(default)]
    insecure_skip_tls_verify: bool,
}

#[derive(Deserialize)]
struct NamedUser {
    name: String,
    #[serde(default)]
    user: Credentials,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Credentials {
    client_certificate: Option<String>,
    client_certificate_data: Option<String>,
    client_key: Option<String>,
    client_key_data: Option<String>,
    token: Option<String>,
    #[serde(rename = "tokenFile")]
    token_file: Option<String>,
}

#[derive(Deserialize)]
struct NamedContext {
    name: String,
    context: Context,
}

#[derive(Deserialize)]
struct Context {
    cluster: String,
    #[serde(default)]
    user: String,
}

/// The server a kubeconfig's current context names.
fn remote(kubeconfig: &str, reach: &Reach) -> Result<Remote, String> {
    let config: Kubeconfig = serde_saphyr::from_str(kubeconfig).map_err(|error| error.to_string())?;
    let context = config.contexts.iter().find(|context| context.name == config.current_context);
    let context = &context.ok_or_else(|| format!("no context {:?}", config.current_context))?.context;
    let cluster = config.clusters.iter().find(|cluster| cluster.name == context.cluster);
    let cluster = &cluster.ok_or_else(|| format!("no cluster {:?}", context.cluster))?.cluster;
    let authority = given(cluster.certificate_authority_data.as_deref(), cluster.certificate_authority.as_deref())?;
    let trust = match authority {
        Some(pem) => Trust::Authorities(pem),
        None if cluster.insecure_skip_tls_verify => Trust::Anyone,
        None => Trust::Public,
    };
    let none = Credentials::default();
    let user = config.users.iter().find(|user| user.name == context.user).map_or(&none, |user| &user.user);
    let certificate = given(user.client_certificate_data.as_deref(), user.client_certificate.as_deref())?;
    let key = given(user.client_key_data.as_deref(), user.client_key.as_deref())?;
    let identity = match (certificate, key) {
        (Some(certificate), Some(key)) => {
            let text = |bytes: Vec<u8>| String::from_utf8(bytes).map_err(|error| error.to_string());
            Some(Identity::from_pem(&text(certificate)?, &text(key)?).map_err(|error| error.to_string())?)
        }
        _ => None,
    };
    let remote = Remote::at(reach, &cluster.server, trust, identity.as_ref()).map_err(|error| error.to_string())?;
    let token = match (&user.token, &user.token_file) {
        (Some(token), _) => Some(token.clone()),
        (None, Some(file)) => Some(std::fs::read_to_string(file).map_err(|error| format!("{file}: {error}"))?),
        (None, None) => None,
    };
    Ok(match token {
        Some(token) => remote.with_token(token.trim()),
        None => remote,
    })
}

/// What stands in the file itself, or in another that it names.
fn given(data: Option<&str>, file: Option<&str>) -> Result<Option<Vec<u8>>, String> {
    match (data, file) {
        (Some(data), _) => STANDARD.decode(data.trim()).map(Some).map_err(|error| error.to_string()),
        (None, Some(file)) => std::fs::read(file).map(Some).map_err(|error| format!("{file}: {error}")),
        (None, None) => Ok(None),
    }
}

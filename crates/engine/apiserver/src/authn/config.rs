//! Who else vouches for tokens: the settings of upstream's flags, and its `AuthenticationConfiguration` file.

use serde::Deserialize;

/// Who else vouches for tokens.
#[derive(Debug, Clone, Default)]
pub struct Authentication {
    /// OpenID Connect issuers.
    pub issuers: Vec<Issuer>,
    /// A server that is asked about tokens nobody else knows.
    pub webhook: Option<WebhookSettings>,
    /// What may be asked for without saying who asks.
    pub anonymous: Anonymous,
}

/// A server that is asked about tokens.
#[derive(Debug, Clone)]
pub struct WebhookSettings {
    /// Its description, a kubeconfig.
    pub kubeconfig: String,
    /// How long its answers are good for.
    pub cache_seconds: u64,
}

/// What may be asked for without saying who asks.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Anonymous {
    /// Health and version.
    #[default]
    Health,
    /// These paths, as far as roles allow them.
    Paths(Vec<String>),
    /// Nothing.
    Nothing,
}

impl Anonymous {
    /// Whether nobody in particular may come in for `path`.
    pub fn admits(&self, path: &str) -> bool {
        match self {
            Self::Health => super::open_to_all(path),
            Self::Paths(paths) => paths.iter().any(|known| known == path),
            Self::Nothing => false,
        }
    }
}

/// An OpenID Connect issuer, and what its tokens mean here.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Issuer {
    /// Where it is, and whom it is for.
    pub issuer: IssuerPlace,
    /// What must be claimed.
    #[serde(default)]
    pub claim_validation_rules: Vec<ClaimRule>,
    /// What claims mean.
    #[serde(default)]
    pub claim_mappings: Mappings,
    /// What must be so of the user.
    #[serde(default)]
    pub user_validation_rules: Vec<UserRule>,
    /// Algorithms that are accepted; empty for all that can be checked.
    #[serde(skip)]
    pub algorithms: Vec<String>,
}

/// Where an issuer is.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct IssuerPlace {
    /// What tokens say in `iss`.
    pub url: String,
    /// Where its description is, if not below `url`.
    #[serde(default, rename = "discoveryURL")]
    pub discovery_url: String,
    /// The authority it is trusted by, in PEM; empty for the public web's.
    #[serde(default)]
    pub certificate_authority: String,
    /// One of which tokens must say in `aud`.
    #[serde(default)]
    pub audiences: Vec<String>,
    /// `MatchAny`.
    #[serde(default)]
    pub audience_match_policy: String,
}

/// What must be claimed.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct ClaimRule {
    /// This claim
    pub claim: String,
    /// is this text;
    pub required_value: String,
    /// or this expression is true,
    pub expression: String,
    /// and if not, this is why.
    pub message: String,
}

/// What must be so of the user.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct UserRule {
    /// What.
    pub expression: String,
    /// Why not, where it is not.
    pub message: String,
}

/// What claims mean.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Mappings {
    /// The user's name.
    pub username: Mapping,
    /// Their groups.
    pub groups: Mapping,
    /// Their uid.
    pub uid: Mapping,
    /// What else is to be known of them.
    pub extra: Vec<Extra>,
}

/// Where a part of the user comes from: a claim, with something put before it, or an expression.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Mapping {
    /// The claim.
    pub claim: String,
    /// What is put before it; needed with a claim, and may be empty.
    pub prefix: Option<String>,
    /// The expression.
    pub expression: String,
}

/// One thing more to be known of a user.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Extra {
    /// Its name.
    pub key: String,
    /// Where it comes from.
    pub value_expression: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Document {
    api_version: String,
    kind: String,
    #[serde(default)]
    jwt: Vec<Issuer>,
    anonymous: Option<AnonymousDocument>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AnonymousDocument {
    enabled: bool,
    #[serde(default)]
    conditions: Vec<AnonymousCondition>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AnonymousCondition {
    path: String,
}

impl Authentication {
    /// What an `AuthenticationConfiguration` says.
    pub fn from_yaml(text: &str) -> Result<Self, String> {
        let document: Document = serde_saphyr::from_str(text).map_err(|error| error.to_string())?;
        let version = document.api_version.strip_prefix("apiserver.config.k8s.io/");
        if document.kind != "AuthenticationConfiguration" || !version.is_some_and(|v| v.starts_with("v1")) {
            let Document { api_version, kind, .. } = document;
            return Err(format!("{api_version} {kind} is no AuthenticationConfiguration of apiserver.config.k8s.io"));
        }
        let anonymous = match document.anonymous {
            None => Anonymous::Health,
            Some(AnonymousDocument { enabled: false, .. }) => Anonymous::Nothing,
            // Who may do everything anonymously is nobody, whatever a file says: without paths it is health.
            Some(AnonymousDocument { conditions, .. }) if conditions.is_empty() => Anonymous::Health,
            Some(AnonymousDocument { conditions, .. }) => {
                Anonymous::Paths(conditions.into_iter().map(|condition| condition.path).collect())
            }
        };
        Ok(Self { issuers: document.jwt, webhook: None, anonymous })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read_and_its_mistakes_are_told() {
        let read = Authentication::from_yaml(
            "apiVersion: apiserver.config.k8s.io/v1\nkind: AuthenticationConfiguration\nanonymous: {enabled: true, \
             conditions: [{path: /livez}]}\njwt:\n- issuer: {url: https://a, audiences: [b], audienceMatchPolicy: MatchAny}\n  \
             claimMappings: {username: {claim: sub, prefix: ''}, extra: [{key: a/b, valueExpression: claims.x}]}\n",
        )
        .unwrap();
        assert_eq!(read.anonymous, Anonymous::Paths(vec!["/livez".into()]));
        assert_eq!(read.issuers[0].claim_mappings.username.prefix.as_deref(), Some(""));
        let wrong = "apiVersion: apiserver.config.k8s.io/v1\nkind: AuthenticationConfiguration\njwts: []\n";
        assert!(Authentication::from_yaml(wrong).unwrap_err().contains("jwts"));
        assert!(Authentication::from_yaml("apiVersion: v1\nkind: Pod\n").is_err());
    }
}

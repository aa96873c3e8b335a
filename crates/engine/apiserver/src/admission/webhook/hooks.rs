//! The webhooks that are configured: read from their configurations once, and again only when one of those changes.

use std::{sync::Arc, time::Duration};

use coracle_store::{Record, Snapshot};
use parking_lot::Mutex;
use serde_json::Value;

use super::rules::Rule;
use crate::{
    admission::policy::conditions::Conditions, object, reach::Reach, remote::Remote, request::selector::LabelSelector,
    status::Failure, subresource::selector_text,
};

const DEFAULT_SECONDS: u64 = 10;
/// The versions of AdmissionReview that are spoken here.
const REVIEW_VERSIONS: [&str; 2] = ["v1", "v1beta1"];

/// One webhook.
pub struct Hook {
    /// Its fully qualified name.
    pub name: String,
    /// Where it is, or why nobody can tell.
    pub remote: Result<Remote, String>,
    /// What it wants to see.
    pub rules: Vec<Rule>,
    /// Whether its rules mean other versions of the same objects too.
    pub equivalent: bool,
    /// Whether a request goes on when the webhook cannot be asked.
    pub ignores_failure: bool,
    /// How long it may take.
    pub timeout: Duration,
    /// In which namespaces.
    pub namespaces: LabelSelector,
    /// Which objects.
    pub objects: LabelSelector,
    /// What must hold before it is asked, or why nobody can tell.
    pub conditions: Result<Conditions, String>,
    /// Whether it may be asked about dry runs.
    pub dry_runs: bool,
    /// Whether it wants to see again what others changed after it.
    pub again: bool,
    /// The version of AdmissionReview it is asked in; `None` where it knows none of ours.
    pub review_version: Option<&'static str>,
}

impl Hook {
    fn parse(reach: &Reach, hook: &Value) -> Result<Self, Failure> {
        let selector = |field: &str| LabelSelector::parse(&selector_text(&hook[field]));
        let versions = || hook["admissionReviewVersions"].as_array().into_iter().flatten().filter_map(Value::as_str);
        Ok(Self {
            name: hook["name"].as_str().unwrap_or_default().to_owned(),
            remote: Remote::from_client_config(reach, &hook["clientConfig"]).map_err(|error| error.to_string()),
            rules: hook["rules"].as_array().into_iter().flatten().map(Rule::parse).collect(),
            equivalent: hook["matchPolicy"] != "Exact",
            ignores_failure: hook["failurePolicy"] == "Ignore",
            timeout: Duration::from_secs(hook["timeoutSeconds"].as_u64().unwrap_or(DEFAULT_SECONDS)),
            namespaces: selector("namespaceSelector")?,
            objects: selector("objectSelector")?,
            conditions: Conditions::parse(&hook["matchConditions"], false),
            dry_runs: matches!(hook["sideEffects"].as_str(), Some("None" | "NoneOnDryRun")),
            again: hook["reinvocationPolicy"] == "IfNeeded",
            review_version: versions().find_map(|asked| REVIEW_VERSIONS.into_iter().find(|ours| *ours == asked)),
        })
    }
}

/// The webhooks of one kind of configuration, in the order they are asked.
pub struct Hooks {
    prefix: &'static str,
    reach: Reach,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    /// The configurations with their webhooks, by name.
    configurations: Vec<(Arc<Record>, Vec<Arc<Hook>>)>,
    all: Arc<[Arc<Hook>]>,
}

impl Hooks {
    /// The webhooks whose configurations lie under `prefix`.
    pub fn new(prefix: &'static str, reach: Reach) -> Self {
        Self { prefix, reach, known: Mutex::default() }
    }

    /// The webhooks at the moment of `snapshot`.
    pub fn at(&self, snapshot: &Snapshot) -> Arc<[Arc<Hook>]> {
        let mut known = self.known.lock();
        let same = snapshot.list(self.prefix).map(|record| record.revision());
        if same.eq(known.configurations.iter().map(|(record, _)| record.revision())) {
            return known.all.clone();
        }
        let mut before = std::mem::take(&mut known.configurations);
        for record in snapshot.list(self.prefix) {
            let kept = before.iter().position(|(known, _)| known.revision() == record.revision());
            let hooks = match kept {
                Some(at) => before.swap_remove(at).1,
                None => self.read(record),
            };
            known.configurations.push((record.clone(), hooks));
        }
        known.all = known.configurations.iter().flat_map(|(_, hooks)| hooks.iter().cloned()).collect();
        known.all.clone()
    }

    fn read(&self, record: &Record) -> Vec<Arc<Hook>> {
        let Ok(configuration) = object::decode(record) else { return Vec::new() };
        let hooks = configuration["webhooks"].as_array().into_iter().flatten();
        hooks.filter_map(|hook| Hook::parse(&self.reach, hook).ok().map(Arc::new)).collect()
    }
}

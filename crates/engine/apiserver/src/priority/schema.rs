//! Flow schemas: which requests belong together, and to which level.

use serde_json::Value;

use crate::{authn::User, request::info::RequestInfo};

/// One schema.
pub struct Schema {
    /// Its name.
    pub name: String,
    /// Its object's uid.
    pub uid: String,
    /// The lowest is asked first.
    pub precedence: i64,
    /// The level's name.
    pub level: String,
    distinguisher: Distinguisher,
    rules: Vec<Rule>,
}

enum Distinguisher {
    Nothing,
    User,
    Namespace,
}

struct Rule {
    subjects: Vec<Subject>,
    resources: Vec<Resources>,
    paths: Vec<Paths>,
}

enum Subject {
    User(String),
    Group(String),
    /// The start of the user's name, or all of it.
    Account {
        start: String,
        any_name: bool,
    },
}

struct Resources {
    verbs: Vec<String>,
    groups: Vec<String>,
    resources: Vec<String>,
    namespaces: Vec<String>,
    cluster: bool,
}

struct Paths {
    verbs: Vec<String>,
    urls: Vec<String>,
}

impl Schema {
    /// Reads a FlowSchema.
    pub fn read(object: &Value) -> Option<Self> {
        let spec = &object["spec"];
        let distinguisher = match spec["distinguisherMethod"]["type"].as_str() {
            Some("ByUser") => Distinguisher::User,
            Some("ByNamespace") => Distinguisher::Namespace,
            _ => Distinguisher::Nothing,
        };
        Some(Self {
            name: crate::object::name(object).to_owned(),
            uid: crate::object::meta_text(object, "uid").to_owned(),
            precedence: spec["matchingPrecedence"].as_i64().unwrap_or(1000),
            level: spec["priorityLevelConfiguration"]["name"].as_str()?.to_owned(),
            distinguisher,
            rules: list(&spec["rules"]).map(Rule::read).collect(),
        })
    }

    /// Whether a request belongs to it.
    pub fn is_about(&self, info: &RequestInfo, user: &User) -> bool {
        self.rules.iter().any(|rule| {
            rule.subjects.iter().any(|subject| subject.is(user))
                && match info.is_resource {
                    true => rule.resources.iter().any(|resources| resources.are_about(info)),
                    false => rule.paths.iter().any(|paths| paths.are_about(info)),
                }
        })
    }

    /// What tells one flow of it from another.
    pub fn flow_of<'a>(&self, info: &'a RequestInfo, user: &'a User) -> &'a str {
        match self.distinguisher {
            Distinguisher::Nothing => "",
            Distinguisher::User => &user.name,
            Distinguisher::Namespace => &info.namespace,
        }
    }
}

impl Rule {
    fn read(rule: &Value) -> Self {
        Self {
            subjects: list(&rule["subjects"]).filter_map(Subject::read).collect(),
            resources: list(&rule["resourceRules"]).map(Resources::read).collect(),
            paths: list(&rule["nonResourceRules"])
                .map(|paths| Paths { verbs: texts(&paths["verbs"]), urls: texts(&paths["nonResourceURLs"]) })
                .collect(),
        }
    }
}

impl Subject {
    fn read(subject: &Value) -> Option<Self> {
        let name = |kind: &str| subject[kind]["name"].as_str().map(str::to_owned);
        match subject["kind"].as_str()? {
            "User" => name("user").map(Self::User),
            "Group" => name("group").map(Self::Group),
            "ServiceAccount" => {
                let start = format!("system:serviceaccount:{}:", subject["serviceAccount"]["namespace"].as_str()?);
                let name = name("serviceAccount")?;
                let any_name = name == "*";
                Some(Self::Account { start: if any_name { start } else { start + &name }, any_name })
            }
            _ => None,
        }
    }

    fn is(&self, user: &User) -> bool {
        match self {
            Self::User(name) => name == "*" || *name == user.name,
            Self::Group(name) => name == "*" || user.in_group(name),
            Self::Account { start, any_name: true } => user.name.starts_with(start),
            Self::Account { start, any_name: false } => user.name == *start,
        }
    }
}

impl Resources {
    fn read(rule: &Value) -> Self {
        Self {
            verbs: texts(&rule["verbs"]),
            groups: texts(&rule["apiGroups"]),
            resources: texts(&rule["resources"]),
            namespaces: texts(&rule["namespaces"]),
            cluster: rule["clusterScope"].as_bool().unwrap_or(false),
        }
    }

    fn are_about(&self, info: &RequestInfo) -> bool {
        let whole = match info.subresource.as_str() {
            "" => info.resource.clone(),
            subresource => format!("{}/{subresource}", info.resource),
        };
        has(&self.verbs, &info.verb)
            && has(&self.groups, &info.group)
            && has(&self.resources, &whole)
            && if info.namespace.is_empty() { self.cluster } else { has(&self.namespaces, &info.namespace) }
    }
}

impl Paths {
    fn are_about(&self, info: &RequestInfo) -> bool {
        let matches = |url: &String| {
            url == "*" || *url == info.path || url.strip_suffix('*').is_some_and(|start| info.path.starts_with(start))
        };
        has(&self.verbs, &info.verb) && self.urls.iter().any(matches)
    }
}

fn has(list: &[String], wanted: &str) -> bool {
    list.iter().any(|one| one == "*" || one == wanted)
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn texts(value: &Value) -> Vec<String> {
    list(value).filter_map(Value::as_str).map(str::to_owned).collect()
}

//! Turns the types of `k8s-openapi` and the tables in `facts/` into the static tables that `src/schema` reads.
//!
//! The tables hold integers and one pool of text, no pointers, so the running program maps them from its file as they are.
//! Descriptions, which are three quarters of the bulk and rarely asked for, go to a compressed file of their own.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;
use std::{env, fs};

#[path = "build/older.rs"]
mod older;

use k8s_openapi as k8s;
use schemars::{JsonSchema, SchemaGenerator};
use serde_json::{Map, Value};

type Failure = Box<dyn std::error::Error>;

fn main() -> Result<(), Failure> {
    println!("cargo::rerun-if-changed=facts");
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=build");
    let mut definitions = definitions();
    let mut facts = Facts::read(&fs::read_to_string("facts/fields.txt")?);
    older::add(&fs::read_to_string("facts/older.txt")?, &mut definitions, &mut facts);
    let mut tables = Tables::new(&definitions, &facts);
    for name in definitions.keys() {
        tables.definition(name);
    }
    tables.write(Path::new(&env::var("OUT_DIR")?))
}

/// Every definition the served kinds are made of, by its OpenAPI name.
fn definitions() -> BTreeMap<String, Value> {
    let mut generator = SchemaGenerator::default();
    macro_rules! add {
        ($($module:path => $($kind:ident)*;)*) => {
            $($({ use $module as module; add_one::<module::$kind>(&mut generator); })*)*
        };
    }
    add! {
        k8s::api::core::v1 => Pod Service ReplicationController ConfigMap Secret ServiceAccount Namespace Node PersistentVolume
            PersistentVolumeClaim Endpoints Event LimitRange ResourceQuota PodTemplate ComponentStatus Binding;
        k8s::api::apps::v1 => Deployment ReplicaSet StatefulSet DaemonSet ControllerRevision;
        k8s::api::batch::v1 => Job CronJob;
        k8s::api::autoscaling::v1 => HorizontalPodAutoscaler Scale;
        k8s::api::autoscaling::v2 => HorizontalPodAutoscaler;
        k8s::api::policy::v1 => PodDisruptionBudget Eviction;
        k8s::api::networking::v1 => Ingress IngressClass NetworkPolicy IPAddress ServiceCIDR;
        k8s::api::discovery::v1 => EndpointSlice;
        k8s::api::events::v1 => Event;
        k8s::api::rbac::v1 => Role RoleBinding ClusterRole ClusterRoleBinding;
        k8s::api::storage::v1 => StorageClass VolumeAttachment VolumeAttributesClass CSIDriver CSINode CSIStorageCapacity;
        k8s::api::scheduling::v1 => PriorityClass;
        k8s::api::coordination::v1 => Lease;
        k8s::api::node::v1 => RuntimeClass;
        k8s::api::certificates::v1 => CertificateSigningRequest;
        k8s::api::authentication::v1 => TokenReview SelfSubjectReview TokenRequest;
        k8s::api::authorization::v1 => SubjectAccessReview SelfSubjectAccessReview SelfSubjectRulesReview LocalSubjectAccessReview;
        k8s::api::admissionregistration::v1 => MutatingWebhookConfiguration ValidatingWebhookConfiguration
            ValidatingAdmissionPolicy ValidatingAdmissionPolicyBinding;
        k8s::api::admissionregistration::v1beta1 => MutatingAdmissionPolicy MutatingAdmissionPolicyBinding;
        k8s::api::admissionregistration::v1alpha1 => MutatingAdmissionPolicy MutatingAdmissionPolicyBinding;
        k8s::apiextensions_apiserver::pkg::apis::apiextensions::v1 => CustomResourceDefinition;
        k8s::kube_aggregator::pkg::apis::apiregistration::v1 => APIService;
        k8s::api::flowcontrol::v1 => FlowSchema PriorityLevelConfiguration;
        k8s::api::resource::v1 => ResourceClaim ResourceClaimTemplate DeviceClass ResourceSlice;
        k8s::apimachinery::pkg::apis::meta::v1 => Status DeleteOptions ListMeta Patch APIVersions APIGroup APIGroupList APIResourceList;
    }
    generator.take_definitions(true).into_iter().collect()
}

fn add_one<T: JsonSchema>(generator: &mut SchemaGenerator) {
    let _ = generator.subschema_for::<T>();
}

/// `facts/fields.txt`: what a field carries beyond its shape.
struct Facts {
    types: HashMap<String, TypeFacts>,
}

#[derive(Default)]
struct TypeFacts {
    attributes: Vec<String>,
    fields: HashMap<String, FieldFacts>,
}

#[derive(Default, Clone)]
struct FieldFacts {
    number: [u8; 3],
    list: Option<String>,
    map: Option<String>,
    patch: String,
    merge_key: String,
    default: String,
    omit: bool,
}

impl Facts {
    fn read(text: &str) -> Self {
        let mut types: HashMap<String, TypeFacts> = HashMap::new();
        let mut current = String::new();
        for line in text.lines().filter(|line| !line.trim().is_empty() && !line.starts_with('#')) {
            let mut words = line.split_whitespace().map(str::to_owned);
            let name = words.next().unwrap_or_default();
            if line.starts_with(' ') {
                let facts = FieldFacts::read(words);
                types.entry(current.clone()).or_default().fields.insert(name, facts);
            } else {
                types.entry(name.clone()).or_default().attributes = words.collect();
                current = name;
            }
        }
        Self { types }
    }

    fn field(&self, definition: &str, field: &str) -> FieldFacts {
        self.types.get(definition).and_then(|t| t.fields.get(field)).cloned().unwrap_or_default()
    }

    fn has(&self, definition: &str, attribute: &str) -> bool {
        self.types.get(definition).is_some_and(|t| t.attributes.iter().any(|a| a == attribute))
    }
}

impl FieldFacts {
    fn read(words: impl Iterator<Item = String>) -> Self {
        let mut facts = Self::default();
        for (position, word) in words.enumerate() {
            if position == 0 {
                for (slot, part) in facts.number.iter_mut().zip(word.split('.')) {
                    *slot = part.parse().unwrap_or(0);
                }
            } else if let Some(value) = word.strip_prefix("patch=") {
                facts.patch = value.to_owned();
            } else if let Some(value) = word.strip_prefix("key=") {
                facts.merge_key = value.to_owned();
            } else if let Some(value) = word.strip_prefix("default=") {
                facts.default = value.to_owned();
            } else if word == "omit" {
                facts.omit = true;
            } else if word.ends_with("-map") {
                facts.map = Some(word);
            } else {
                facts.list = Some(word);
            }
        }
        facts
    }
}

const NONE: u32 = u32::MAX;

#[derive(Clone, Default)]
struct Node {
    shape: &'static str,
    format: &'static str,
    flags: u16,
    name: (u32, u32),
    keys: (u32, u32),
    first: u32,
    count: u32,
    element: u32,
}

struct Tables<'a> {
    definitions: &'a BTreeMap<String, Value>,
    facts: &'a Facts,
    text: String,
    pool: HashMap<String, (u32, u32)>,
    nodes: Vec<Node>,
    fields: Vec<String>,
    /// One for each field, then one for each definition.
    field_descriptions: Vec<String>,
    roots: BTreeMap<String, u32>,
    plain: HashMap<String, u32>,
}

// The same bits as src/schema/table.rs.
const ATOMIC: u16 = 1;
const SET: u16 = 2;
const MAP: u16 = 4;
const PRESERVE: u16 = 8;
const REQUIRED: u16 = 1;
const PATCH_MERGE: u16 = 2;
const RETAIN_KEYS: u16 = 4;
const PATCH_REPLACE: u16 = 8;
const OMIT_ZERO: u16 = 16;

impl<'a> Tables<'a> {
    fn new(definitions: &'a BTreeMap<String, Value>, facts: &'a Facts) -> Self {
        Self {
            definitions,
            facts,
            text: String::new(),
            pool: HashMap::new(),
            nodes: Vec::new(),
            fields: Vec::new(),
            field_descriptions: Vec::new(),
            roots: BTreeMap::new(),
            plain: HashMap::new(),
        }
    }

    fn span(&mut self, text: &str) -> (u32, u32) {
        if text.is_empty() {
            return (0, 0);
        }
        if let Some(span) = self.pool.get(text) {
            return *span;
        }
        let span = (self.text.len() as u32, text.len() as u32);
        self.text.push_str(text);
        self.pool.insert(text.to_owned(), span);
        span
    }

    /// The node of a named definition; made at first mention, so that definitions may refer to themselves.
    fn definition(&mut self, name: &str) -> u32 {
        if let Some(id) = self.roots.get(name) {
            return *id;
        }
        let id = self.nodes.len() as u32;
        self.roots.insert(name.to_owned(), id);
        let span = self.span(name);
        self.nodes.push(Node { name: span, element: NONE, ..Node::default() });
        let definitions = self.definitions;
        let node = match name.rsplit('.').next().unwrap_or_default() {
            "Quantity" => Node { shape: "Quantity", format: "None", ..Node::default() },
            "IntOrString" => Node { shape: "IntOrString", format: "None", ..Node::default() },
            "JSON" | "JSONSchemaPropsOrBool" | "JSONSchemaPropsOrArray" | "JSONSchemaPropsOrStringArray" | "Patch" => {
                Node { shape: "Any", format: "None", flags: ATOMIC | PRESERVE, ..Node::default() }
            }
            _ => self.shape(name, &definitions[name]),
        };
        let element = if node.shape == "List" || node.element != 0 { node.element } else { NONE };
        self.nodes[id as usize] = Node { name: span, element, ..node };
        if self.facts.has(name, "atomic") {
            self.nodes[id as usize].flags |= ATOMIC;
        }
        id
    }

    fn shape(&mut self, name: &str, schema: &Value) -> Node {
        let format = match schema["format"].as_str() {
            Some("int32") => "Int32",
            Some("int64") => "Int64",
            Some("double") => "Double",
            Some("byte") => "Byte",
            Some("date-time") if name.ends_with("MicroTime") => "MicroTime",
            Some("date-time") => "DateTime",
            _ => "None",
        };
        let shape = match schema["type"].as_str() {
            Some("string") => "String",
            Some("integer") => "Integer",
            Some("number") => "Number",
            Some("boolean") => "Boolean",
            Some("array") => "List",
            _ => "Object",
        };
        let mut node = Node { shape, format, element: NONE, ..Node::default() };
        if shape == "List" {
            node.element = self.reference(&schema["items"]);
        } else if shape == "Object" {
            if let Some(properties) = schema["properties"].as_object() {
                (node.first, node.count) = self.properties(name, properties, &schema["required"]);
            } else if schema["additionalProperties"].is_object() {
                node.element = self.reference(&schema["additionalProperties"]);
            } else {
                node.flags |= PRESERVE | ATOMIC;
            }
        }
        node
    }

    /// The node for a schema that is a `$ref` or written in place.
    fn reference(&mut self, schema: &Value) -> u32 {
        let target = schema["$ref"].as_str().or_else(|| schema["allOf"][0]["$ref"].as_str());
        if let Some(target) = target {
            let name = target.rsplit('/').next().unwrap_or_default().to_owned();
            return self.definition(&name);
        }
        let mut shape = schema.clone();
        if let Some(object) = shape.as_object_mut() {
            object.remove("description");
        }
        let key = shape.to_string();
        if let Some(id) = self.plain.get(&key) {
            return *id;
        }
        let node = self.shape("", &shape);
        self.nodes.push(node);
        let id = self.nodes.len() as u32 - 1;
        self.plain.insert(key, id);
        id
    }

    fn properties(&mut self, owner: &str, properties: &Map<String, Value>, required: &Value) -> (u32, u32) {
        let mut rows = Vec::new();
        for (name, schema) in properties {
            let facts = self.facts.field(owner, name);
            let node = self.field_node(schema, &facts);
            let mut flags = 0;
            if required.as_array().is_some_and(|r| r.iter().any(|r| r == name.as_str())) {
                flags |= REQUIRED;
            }
            if facts.omit {
                flags |= OMIT_ZERO;
            }
            for strategy in facts.patch.split(',') {
                flags |= match strategy {
                    "merge" => PATCH_MERGE,
                    "retainKeys" => RETAIN_KEYS,
                    "replace" => PATCH_REPLACE,
                    _ => 0,
                };
            }
            let (name, key, default) = (self.span(name), self.span(&facts.merge_key), self.span(&facts.default));
            rows.push((
                schema["description"].as_str().unwrap_or_default().to_owned(),
                format!(
                    "f({},{},{node},{},{},{},{},{flags},{:?})",
                    name.0, name.1, key.0, key.1, default.0, default.1, facts.number
                ),
            ));
        }
        let first = self.fields.len() as u32;
        for (description, row) in rows {
            self.field_descriptions.push(description);
            self.fields.push(row);
        }
        (first, self.fields.len() as u32 - first)
    }

    /// A field's own list or map facts make its node a variant of what it refers to.
    fn field_node(&mut self, schema: &Value, facts: &FieldFacts) -> u32 {
        let id = self.reference(schema);
        let mut node = self.nodes[id as usize].clone();
        let (flags, keys) = match facts.list.as_deref() {
            Some("atomic") => (ATOMIC, String::new()),
            Some("set") => (SET, String::new()),
            Some(list) => (MAP, list.trim_start_matches("map(").trim_end_matches(')').to_owned()),
            None => (0, String::new()),
        };
        let mut changed = node.flags | flags;
        match facts.map.as_deref() {
            Some("atomic-map") => changed |= ATOMIC,
            Some("granular-map") => changed &= !ATOMIC,
            _ => {}
        }
        if changed == node.flags && keys.is_empty() {
            return id;
        }
        node.flags = changed;
        node.keys = self.span(&keys);
        // A variant of a definition still being made would miss its fields; no such field exists among the facts.
        assert!(!node.shape.is_empty(), "facts on a field that refers to its own type");
        let key = format!("{id} {changed} {keys}");
        if let Some(id) = self.plain.get(&key) {
            return *id;
        }
        self.nodes.push(node);
        let id = self.nodes.len() as u32 - 1;
        self.plain.insert(key, id);
        id
    }

    fn write(&self, out: &Path) -> Result<(), Failure> {
        let mut code = String::new();
        writeln!(code, "pub static TEXT: &str = include_str!(concat!(env!(\"OUT_DIR\"), \"/text\"));")?;
        writeln!(code, "pub static NODES: [Node; {}] = [", self.nodes.len())?;
        for n in &self.nodes {
            writeln!(
                code,
                "n(Shape::{},Format::{},{},{},{},{},{},{},{},{}),",
                n.shape, n.format, n.flags, n.name.0, n.name.1, n.keys.0, n.keys.1, n.first, n.count, n.element
            )?;
        }
        writeln!(code, "];\npub static FIELDS: [Field; {}] = [", self.fields.len())?;
        for field in &self.fields {
            writeln!(code, "{field},")?;
        }
        writeln!(
            code,
            "];\n/// Definition nodes, ordered by name.\npub static ROOTS: [u32; {}] = [",
            self.roots.len()
        )?;
        for id in self.roots.values() {
            write!(code, "{id},")?;
        }
        writeln!(code, "];")?;
        fs::write(out.join("tables.rs"), code)?;
        fs::write(out.join("text"), &self.text)?;
        let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::best());
        let roots = self.roots.keys().map(|name| self.definitions[name]["description"].as_str().unwrap_or_default());
        for description in self.field_descriptions.iter().map(String::as_str).chain(roots) {
            encoder.write_all(description.as_bytes())?;
            encoder.write_all(&[0])?;
        }
        fs::write(out.join("descriptions"), encoder.finish()?)?;
        Ok(())
    }
}

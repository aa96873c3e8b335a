//! Objects of every kind, made up field by field from the types with a seed, put through the whole room: nothing may panic, and
//! what must not depend on being done twice does not.

use coracle_schema::types::{Format, ListType, Shape, Type};
use coracle_schema::{Kind, apply, decode, defaults, fields, kinds, patch, strategy, table, validate};
use proptest::prelude::*;
use serde_json::{Map, Value, json};

/// A small generator of its own (SplitMix64), so that a seed names an object for good.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % sides
    }

    fn pick(&mut self, words: &[&str]) -> Value {
        json!(words[self.roll(words.len() as u64) as usize])
    }
}

const WORDS: [&str; 12] = [
    "",
    "a",
    "b",
    "x-y",
    "Always",
    "TCP",
    "In",
    "Exists",
    "10.0.0.1",
    "25%",
    "app.kubernetes.io/name",
    "RollingUpdate",
];

fn made_up(of: Type<'_>, dice: &mut Dice, depth: u32) -> Value {
    if dice.roll(20) == 0 {
        return Value::Null;
    }
    match of.shape() {
        Shape::String => match of.format() {
            Format::Byte => dice.pick(&["", "YQ=="]),
            Format::DateTime | Format::MicroTime => json!("2026-01-01T00:00:00Z"),
            _ => dice.pick(&WORDS),
        },
        Shape::Integer => json!(dice.roll(4) as i64 - 1),
        Shape::Number => json!(0.5),
        Shape::Boolean => json!(dice.roll(2) == 0),
        Shape::IntOrString => {
            if dice.roll(2) == 0 {
                json!(dice.roll(100))
            } else {
                dice.pick(&WORDS)
            }
        }
        Shape::Quantity => dice.pick(&["0", "1", "500m", "1Gi", "0.5", "-1", "1e3"]),
        Shape::Any => json!({"any": [1, {"thing": null}]}),
        Shape::List => list(of, dice, depth),
        Shape::Object => object(of, dice, depth),
    }
}

fn list(of: Type<'_>, dice: &mut Dice, depth: u32) -> Value {
    let Some(element) = of.element() else { return json!([]) };
    let length = if depth == 0 { 0 } else { dice.roll(3) };
    let mut items: Vec<Value> = Vec::new();
    for _ in 0..length {
        let mut item = made_up(element, dice, depth - 1);
        if let Value::Object(members) = &mut item {
            give_keys(of, members, dice);
        }
        // Lists that tell their items apart have each once.
        let same = |other: &Value| match of.list_type() {
            ListType::Map => of.keys().all(|key| item[key] == other[key]),
            _ => item == *other,
        };
        let told_apart = of.list_type() == ListType::Atomic || !item.is_null();
        if told_apart && !items.iter().any(same) {
            items.push(item);
        }
    }
    json!(items)
}

/// An item without its keys would be refused, or be taken for another.
fn give_keys(of: Type<'_>, item: &mut Map<String, Value>, dice: &mut Dice) {
    for key in of.keys() {
        let field = of.element().and_then(|element| element.field(key)).expect("keys are fields");
        while item.get(key).is_none_or(Value::is_null) {
            item.insert(key.to_owned(), made_up(field.value(), dice, 1));
        }
    }
}

fn object(of: Type<'_>, dice: &mut Dice, depth: u32) -> Value {
    let mut members = Map::new();
    if depth == 0 {
        return Value::Object(members);
    }
    // Wide types would make huge objects if each field came as often as in narrow ones.
    let sides = 2 + of.fields().len() as u64 / 6;
    for field in of.fields() {
        let wanted = matches!(field.name(), "metadata" | "spec" | "template" | "containers" | "name");
        if wanted || dice.roll(sides) == 0 {
            members.insert(field.name().to_owned(), made_up(field.value(), dice, depth - 1));
        }
    }
    if let (Some(element), false) = (of.element(), of.has_fields()) {
        for _ in 0..dice.roll(3) {
            let key = dice.pick(&["a", "cpu", "memory", "x.io/y"]);
            members.insert(key.as_str().unwrap().to_owned(), made_up(element, dice, depth - 1));
        }
    }
    Value::Object(members)
}

fn object_of(kind: &Kind, dice: &mut Dice) -> Value {
    let mut value = made_up(kind.schema.root(), dice, 7);
    if !value.is_object() {
        value = json!({});
    }
    if !value["metadata"].is_object() {
        value["metadata"] = json!({});
    }
    value["apiVersion"] = kind.api_version().into();
    value["kind"] = kind.kind.as_ref().into();
    value["metadata"]["name"] = "x".into();
    // What only the server sets, before or after what is tested here.
    for field in ["managedFields", "deletionTimestamp", "deletionGracePeriodSeconds"] {
        value["metadata"].as_object_mut().unwrap().remove(field);
    }
    value
}

fn through_everything(kind: &Kind, seed: u64) {
    let mut dice = Dice(seed);
    let (config, other) = (object_of(kind, &mut dice), object_of(kind, &mut dice));
    let text = config.to_string();
    let decoded = decode::json(text.as_bytes(), Some(kind.schema.root())).unwrap();
    assert_eq!(decoded.strict, Vec::<String>::new(), "{text}");
    assert_eq!(fields::type_error(kind, &config), None, "{text}");

    let mut object = config.clone();
    fields::prune(kind, &mut object);
    strategy::prepare_create(kind, &mut object);
    defaults::apply(kind, &mut object);
    let once = object.clone();
    defaults::apply(kind, &mut object);
    assert_eq!(object, once, "defaulting twice, {text}");
    let errors = validate::create(kind, &object);
    validate::invalid_status(kind, "x", &errors);
    assert_eq!(table::cells(kind, &object, 0).len(), table::columns(kind).len());

    let mut changed = other.clone();
    fields::prune(kind, &mut changed);
    strategy::prepare_update(kind, &mut changed, &object);
    strategy::prepare_status_update(kind, &mut changed.clone(), &object);
    defaults::apply(kind, &mut changed);
    validate::update(kind, &changed, &object);
    let _ = patch::strategic(kind.schema.root(), &object, &other);
    assert_eq!(patch::merge(&object, &patch::merge_diff(&object, &once)), once);

    applied_twice(kind, &config, &other);
}

fn applied_twice(kind: &Kind, config: &Value, other: &Value) {
    let request = |live, manager| apply::Request {
        kind,
        live,
        manager,
        subresource: "",
        now: "2026-01-01T00:00:00Z",
        force: true,
    };
    let Ok(mut live) = apply::apply(&request(None, "one"), config.clone()) else { return };
    live["metadata"]["uid"] = "u".into();
    let mut changed = patch::merge(&live, other);
    fields::prune(kind, &mut changed);
    defaults::apply(kind, &mut changed);
    let live = apply::update(&request(Some(&live), "two"), changed);
    let Ok(applied) = apply::apply(&request(Some(&live), "one"), config.clone()) else { return };
    let later = apply::Request { now: "2027-01-01T00:00:00Z", ..request(Some(&applied), "one") };
    let again = apply::apply(&later, config.clone()).unwrap();
    let difference = patch::merge_diff(&applied, &again);
    assert!(again == applied, "applying again changes {difference}, at first {}", patch::merge_diff(&again, &applied));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn objects_of_any_kind_go_through(seed: u64) {
        let all = kinds::builtin();
        through_everything(&all[(seed % all.len() as u64) as usize], seed);
    }

    /// What people send most.
    #[test]
    fn workloads_go_through(seed: u64) {
        for (group, version, kind) in [("", "v1", "Pod"), ("apps", "v1", "Deployment"), ("", "v1", "Service"), ("batch", "v1", "CronJob")] {
            through_everything(kinds::find_kind(group, version, kind).unwrap(), seed);
        }
    }

    /// Bytes that nobody made: refused or read, in bounded time.
    #[test]
    fn any_text_is_read_or_refused(text in "[\\-a-c:{}\\[\\],\"'&*!|>#\n 0-9.]{0,80}") {
        let root = kinds::find_kind("", "v1", "Pod").unwrap().schema.root();
        let _ = decode::json(text.as_bytes(), Some(root));
        let _ = decode::yaml(text.as_bytes(), Some(root));
    }
}

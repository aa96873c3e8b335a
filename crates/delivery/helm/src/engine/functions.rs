//! The functions that belong to an execution: `include`, `tpl`, `required`, `fail`, `lookup`.

use std::{any::Any, collections::HashMap};

use coracle_gotemplate::{Context, Function, FunctionError, Host, Str, Type, Value, quote};

use super::{
    NO_VALUE,
    error::{WARN_END, WARN_START},
};

/// How often one template may include itself, as Helm has it.
const RECURSION_LIMIT: u32 = 1000;

/// What a render sees of the world: a clock, dice, and perhaps a cluster.
pub trait World {
    /// Seconds and nanoseconds since 1970.
    fn now(&mut self) -> (i64, u32);

    /// Fills the buffer with random bytes.
    fn random(&mut self, buffer: &mut [u8]);

    /// The local time zone.
    fn zone(&self) -> Str {
        "UTC".into()
    }

    fn lookup(&mut self) -> &mut dyn Lookup;
}

/// The objects of a cluster, for charts that `lookup`.
pub trait Lookup {
    /// The object, or the list of those of its kind when `name` is empty; an empty map when there is none.
    fn lookup(&mut self, api_version: &str, kind: &str, namespace: &str, name: &str) -> Result<Value, String>;
}

/// No cluster: every lookup finds nothing, as in `helm template`.
pub struct NoCluster;

impl Lookup for NoCluster {
    fn lookup(&mut self, _: &str, _: &str, _: &str, _: &str) -> Result<Value, String> {
        Ok(Value::dict(Vec::<(Str, Value)>::new()))
    }
}

/// The world, and how often each template is being included right now.
pub(super) struct HelmHost<'w> {
    world: &'w mut dyn World,
    state: State,
}

#[derive(Default)]
struct State {
    included: HashMap<Str, u32>,
}

impl<'w> HelmHost<'w> {
    pub fn new(world: &'w mut dyn World) -> Self {
        HelmHost { world, state: State::default() }
    }
}

impl Host for HelmHost<'_> {
    fn now(&mut self) -> (i64, u32) {
        self.world.now()
    }

    fn zone(&self) -> Str {
        self.world.zone()
    }

    fn random(&mut self, buffer: &mut [u8]) {
        self.world.random(buffer);
    }

    fn lookup(&mut self, question: [&str; 4]) -> Result<Value, String> {
        let [api_version, kind, namespace, name] = question;
        self.world.lookup().lookup(api_version, kind, namespace, name)
    }

    fn as_any(&mut self) -> &mut dyn Any {
        &mut self.state
    }
}

pub(super) static FUNCTIONS: &[Function] = &[
    Function::new("include", &[Type::String, Type::Any], include),
    Function::new("tpl", &[Type::String, Type::Any], tpl),
    Function::new("required", &[Type::String, Type::Any], required),
    Function::new("fail", &[Type::String], fail),
    Function::new("lookup", &[Type::String, Type::String, Type::String, Type::String], lookup),
    Function::new("getHostByName", &[Type::String], |_, _| Ok(Value::from(""))),
];

type Answer = Result<Value, FunctionError>;

fn text(value: &Value) -> Str {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string().into(),
    }
}

fn state<'c>(context: &'c mut Context<'_>) -> &'c mut State {
    context.host.as_any().downcast_mut().expect("charts are rendered with Helm's host")
}

fn include(context: &mut Context<'_>, arguments: &[Value]) -> Answer {
    let name = text(&arguments[0]);
    let count = state(context).included.entry(name.clone()).or_default();
    if *count > RECURSION_LIMIT {
        let message = format!("rendering template has a nested reference name: {name}: unable to execute template");
        return Err(message.into());
    }
    *count += 1;
    let result = context.execute(&name, &arguments[1]);
    if let Some(count) = state(context).included.get_mut(&name) {
        *count -= 1;
    }
    Ok(Value::string_from_bytes(result?))
}

fn tpl(context: &mut Context<'_>, arguments: &[Value]) -> Answer {
    let template = text(&arguments[0]);
    // Text without actions is its own result; charts pass most of their values through here.
    if !template.contains("{{") {
        return Ok(if template.contains(NO_VALUE) {
            Value::from(template.replace(NO_VALUE, ""))
        } else {
            arguments[0].clone()
        });
    }
    match context.execute_text("gotpl", &template, &arguments[1]) {
        Ok(output) => Ok(Value::from(super::without_no_value(output))),
        Err(coracle_gotemplate::TextError::Parse(error)) => {
            Err(format!("cannot parse template {}: {error}", quote(template.as_bytes())).into())
        }
        Err(coracle_gotemplate::TextError::Exec(error)) => {
            let message = format!("error during tpl function execution for {}: {error}", quote(template.as_bytes()));
            Err(FunctionError::wrapping(message, error))
        }
    }
}

fn warning(message: &Value) -> FunctionError {
    format!("{WARN_START}{message}{WARN_END}").into()
}

fn required(_: &mut Context<'_>, arguments: &[Value]) -> Answer {
    match &arguments[1] {
        Value::Nil => Err(warning(&arguments[0])),
        Value::String(text) if text.is_empty() => Err(warning(&arguments[0])),
        value => Ok(value.clone()),
    }
}

fn fail(_: &mut Context<'_>, arguments: &[Value]) -> Answer {
    Err(warning(&arguments[0]))
}

fn lookup(context: &mut Context<'_>, arguments: &[Value]) -> Answer {
    let [api_version, kind, namespace, name] = [0, 1, 2, 3].map(|index: usize| text(&arguments[index]));
    context.host.lookup([&api_version, &kind, &namespace, &name]).map_err(FunctionError::from)
}

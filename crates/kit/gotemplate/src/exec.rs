//! Running templates.

mod argument;
mod field;

use std::{fmt, io::Write as _, rc::Rc};

use crate::{
    builtin::Builtin,
    function::{Context, FunctionError, Type},
    node::{Branch, Callee, Command, Invocation, Node, Number, Operand, OperandKind, Pipe, Template},
    quote::quote,
    value::{List, Object, Str, Value},
};

/// A message of nested templates does not grow beyond this.
const MESSAGE_LIMIT_BYTES: usize = 192 << 10;
/// Go's words, which it says at a depth of its own.
const TOO_DEEP: &str = "exceeded maximum template depth (100000)";

/// A template that failed: Go's message, with its location and what was being evaluated.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ExecError {
    message: String,
    /// The function's error, when one failed.
    cause: Option<Box<FunctionError>>,
}

impl ExecError {
    pub(crate) fn new(message: String) -> ExecError {
        ExecError { message, cause: None }
    }

    /// This error's text and those of what caused it, the way `errors.Unwrap` meets them.
    pub fn chain(&self) -> Vec<String> {
        let mut texts = Vec::new();
        let mut next = Some(self);
        while let Some(error) = next.take() {
            texts.push(error.message.clone());
            if let Some(cause) = &error.cause {
                texts.push(cause.to_string());
                next = cause.cause();
            }
        }
        texts
    }
}

pub(crate) fn run(context: &mut Context<'_>, template: &Template, data: &Value) -> Result<Vec<u8>, ExecError> {
    let mut out = Vec::new();
    let dot = Cell::of(data.clone());
    let mut state = State::new(context, template, &mut out, dot.clone());
    state.list(&dot, &template.body)?;
    Ok(out)
}

/// A value as reflection sees it: one that came out of a map or a list of anything is still in its box, and an empty box
/// is not the same as no value.
#[derive(Clone, Default)]
struct Cell {
    value: Value,
    boxed: bool,
}

impl Cell {
    fn of(value: Value) -> Cell {
        Cell { value, boxed: false }
    }

    fn boxed(value: Value) -> Cell {
        Cell { value, boxed: true }
    }

    /// No value at all.
    fn is_invalid(&self) -> bool {
        self.value.is_nil() && !self.boxed
    }
}

/// What is being evaluated, for error messages.
#[derive(Clone, Copy)]
enum At<'t> {
    Nothing,
    Pipe(&'t Pipe),
    Command(&'t Command),
    Operand(&'t Operand),
    Invocation(&'t Invocation),
}

impl At<'_> {
    fn position(&self) -> u32 {
        match self {
            At::Nothing => 0,
            At::Pipe(pipe) => pipe.position,
            At::Command(command) => command.position,
            At::Operand(operand) => operand.position,
            At::Invocation(invocation) => invocation.position,
        }
    }
}

impl fmt::Display for At<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            At::Nothing => Ok(()),
            At::Pipe(pipe) => write!(f, "{pipe}"),
            At::Command(command) => write!(f, "{command}"),
            At::Operand(operand) => write!(f, "{operand}"),
            At::Invocation(invocation) => write!(f, "{invocation}"),
        }
    }
}

/// How a list of nodes ended.
#[derive(PartialEq, Eq)]
enum Flow {
    On,
    Break,
    Continue,
}

/// The run of one template.
struct State<'t, 'c, 'h> {
    context: &'c mut Context<'h>,
    template: &'t Template,
    at: At<'t>,
    variables: Vec<(Str, Cell)>,
    out: &'c mut Vec<u8>,
}

type Exec<T> = Result<T, ExecError>;

impl<'t, 'c, 'h> State<'t, 'c, 'h> {
    fn new(context: &'c mut Context<'h>, template: &'t Template, out: &'c mut Vec<u8>, dot: Cell) -> Self {
        State { context, template, at: At::Nothing, variables: vec![("$".into(), dot)], out }
    }

    #[cold]
    fn error<T>(&self, message: impl fmt::Display) -> Exec<T> {
        Err(ExecError::new(self.located(message)))
    }

    fn located(&self, message: impl fmt::Display) -> String {
        let location = self.template.location(self.at.position());
        let name = quote(self.template.name.as_bytes());
        format!("template: {location}: executing {name} at <{}>: {message}", self.at)
    }

    fn step(&mut self) -> Exec<()> {
        match self.context.step() {
            Ok(()) => Ok(()),
            Err(limit) => self.error(limit),
        }
    }

    fn list(&mut self, dot: &Cell, nodes: &'t [Node]) -> Exec<Flow> {
        for node in nodes {
            let flow = self.node(dot, node)?;
            if flow != Flow::On {
                return Ok(flow);
            }
        }
        Ok(Flow::On)
    }

    fn node(&mut self, dot: &Cell, node: &'t Node) -> Exec<Flow> {
        self.step()?;
        match node {
            Node::Text(text) => self.write(text.as_bytes())?,
            Node::Action(pipe) => {
                let cell = self.pipeline(dot, pipe)?;
                if pipe.variables.is_empty() {
                    self.print(&cell.value)?;
                }
            }
            Node::If(branch) => return self.branch(dot, branch, false),
            Node::With(branch) => return self.branch(dot, branch, true),
            Node::Range(branch) => self.range(dot, branch)?,
            Node::Template(invocation) => self.invoke(dot, invocation)?,
            Node::Break => return Ok(Flow::Break),
            Node::Continue => return Ok(Flow::Continue),
        }
        Ok(Flow::On)
    }

    fn write(&mut self, bytes: &[u8]) -> Exec<()> {
        if self.out.len() + bytes.len() > self.context.output_limit() {
            return self.error(format_args!("the output exceeds {} bytes", self.context.output_limit()));
        }
        self.out.extend_from_slice(bytes);
        Ok(())
    }

    fn print(&mut self, value: &Value) -> Exec<()> {
        match value {
            Value::Nil => self.write(b"<no value>"),
            Value::String(text) => self.write(text.as_bytes()),
            Value::Binary(bytes) => self.write(bytes),
            value => {
                // Writing to a vector cannot fail.
                let _ = write!(self.out, "{value}");
                self.write(b"")
            }
        }
    }

    fn branch(&mut self, dot: &Cell, branch: &'t Branch, sets_dot: bool) -> Exec<Flow> {
        let mark = self.variables.len();
        let cell = self.pipeline(dot, &branch.pipe)?;
        let flow = if cell.value.is_true() {
            self.list(if sets_dot { &cell } else { dot }, &branch.body)?
        } else if let Some(otherwise) = &branch.otherwise {
            self.list(dot, otherwise)?
        } else {
            Flow::On
        };
        self.variables.truncate(mark);
        Ok(flow)
    }

    fn range(&mut self, dot: &Cell, branch: &'t Branch) -> Exec<()> {
        let mark = self.variables.len();
        let over = self.pipeline(dot, &branch.pipe)?.value;
        let over = match &over {
            Value::Object(object) => object.underlying().unwrap_or(over),
            _ => over,
        };
        let ran = match &over {
            Value::Nil => false,
            Value::List(list) => self.range_list(list, branch)?,
            Value::Bytes(bytes) => {
                let items = bytes.iter().map(|byte| Cell::of(Value::Uint8(*byte)));
                self.iterate(branch, numbered(items))?
            }
            Value::Dict(dict) => {
                let boxed = !matches!(dict.dict_type(), crate::value::DictType::String);
                let entries = dict.snapshot().into_iter();
                let cells = entries.map(|(key, value)| (Cell::of(Value::String(key)), Cell { value, boxed }));
                self.iterate(branch, cells)?
            }
            Value::Int(end) => self.range_number(branch, *end, Value::Int, &over)?,
            Value::Int64(end) => self.range_number(branch, *end, Value::Int64, &over)?,
            Value::Uint64(end) => {
                let end = i64::try_from(*end).unwrap_or(i64::MAX);
                self.range_number(branch, end, |number| Value::Uint64(number.unsigned_abs()), &over)?
            }
            Value::Uint8(end) => {
                let number = |number| Value::Uint8(u8::try_from(number).unwrap_or(u8::MAX));
                self.range_number(branch, i64::from(*end), number, &over)?
            }
            _ => return self.error(format_args!("range can't iterate over {over}")),
        };
        if !ran && let Some(otherwise) = &branch.otherwise {
            self.list(dot, otherwise)?;
        }
        self.variables.truncate(mark);
        Ok(())
    }

    fn range_list(&mut self, list: &Rc<List>, branch: &'t Branch) -> Exec<bool> {
        let boxed = list.list_type() == crate::value::ListType::Any;
        let list = list.clone();
        let items = (0..list.len()).map(|index| Cell { value: list[index].clone(), boxed });
        self.iterate(branch, numbered(items))
    }

    fn range_number(
        &mut self,
        branch: &'t Branch,
        end: i64,
        number: impl Fn(i64) -> Value,
        over: &Value,
    ) -> Exec<bool> {
        if branch.pipe.variables.len() > 1 {
            return self.error(format_args!("can't use {over} to iterate over more than one variable"));
        }
        self.iterate(branch, (0..end).map(|index| (Cell::default(), Cell::of(number(index)))))
    }

    /// Runs a range's body for each item; whether there was one.
    fn iterate(&mut self, branch: &'t Branch, items: impl Iterator<Item = (Cell, Cell)>) -> Exec<bool> {
        let mark = self.variables.len();
        let mut ran = false;
        for (index, item) in items {
            ran = true;
            self.step()?;
            self.set_range_variables(branch, index, &item)?;
            let flow = self.list(&item, &branch.body)?;
            self.variables.truncate(mark);
            if flow == Flow::Break {
                break;
            }
        }
        Ok(ran)
    }

    fn set_range_variables(&mut self, branch: &'t Branch, index: Cell, item: &Cell) -> Exec<()> {
        let names = &branch.pipe.variables;
        let top = self.variables.len();
        match (&**names, branch.pipe.assigns) {
            ([], _) => {}
            ([name], true) => self.assign(name, item.clone())?,
            ([first, second, ..], true) => {
                self.assign(first, index)?;
                self.assign(second, item.clone())?;
            }
            ([_], false) => self.variables[top - 1].1 = item.clone(),
            ([_, _, ..], false) => {
                self.variables[top - 1].1 = item.clone();
                self.variables[top - 2].1 = index;
            }
        }
        Ok(())
    }

    fn invoke(&mut self, dot: &Cell, invocation: &'t Invocation) -> Exec<()> {
        self.at = At::Invocation(invocation);
        let Some(template) = self.context.template(&invocation.name) else {
            return self.error(format_args!("template {} not defined", quote(invocation.name.as_bytes())));
        };
        if self.context.stack.is_spent() {
            return self.error(TOO_DEEP);
        }
        let data = match &invocation.pipe {
            Some(pipe) => self.pipeline(dot, pipe)?,
            None => Cell::default(),
        };
        State::new(self.context, &template, self.out, data.clone()).list(&data, &template.body)?;
        Ok(())
    }

    fn assign(&mut self, name: &str, cell: Cell) -> Exec<()> {
        match self.variables.iter_mut().rev().find(|(known, _)| **known == *name) {
            Some((_, slot)) => *slot = cell,
            None => return self.error(format_args!("undefined variable: {name}")),
        }
        Ok(())
    }

    fn pipeline(&mut self, dot: &Cell, pipe: &'t Pipe) -> Exec<Cell> {
        self.at = At::Pipe(pipe);
        if self.context.stack.is_spent() {
            return self.error(TOO_DEEP);
        }
        let mut value: Option<Cell> = None;
        for command in &pipe.commands {
            let mut result = self.command(dot, command, value)?;
            result.boxed = false;
            value = Some(result);
        }
        let value = value.unwrap_or_default();
        for name in &pipe.variables {
            if pipe.assigns {
                self.assign(name, value.clone())?;
            } else {
                self.variables.push((name.clone(), value.clone()));
            }
        }
        Ok(value)
    }

    fn command(&mut self, dot: &Cell, command: &'t Command, last: Option<Cell>) -> Exec<Cell> {
        let (first, arguments) = command.operands.split_first().expect("the parser lets no command be empty");
        match &first.kind {
            OperandKind::Field(_) | OperandKind::Chain { .. } | OperandKind::Variable { .. } => {
                return self.access(dot, first, Arguments { operands: arguments, last });
            }
            OperandKind::Function { name, callee } => {
                self.at = At::Operand(first);
                return self.call(dot, *callee, At::Command(command), name, Arguments { operands: arguments, last });
            }
            OperandKind::Pipe(pipe) => {
                self.refuse_arguments(first, arguments, &last)?;
                return self.pipeline(dot, pipe);
            }
            _ => {}
        }
        self.at = At::Operand(first);
        self.refuse_arguments(first, arguments, &last)?;
        match &first.kind {
            OperandKind::Dot => Ok(dot.clone()),
            OperandKind::Bool(value) => Ok(Cell::of(Value::Bool(*value))),
            OperandKind::Number(number) => self.constant(number),
            OperandKind::String { value, .. } => Ok(Cell::of(value.to_value())),
            _ => self.error("nil is not a command"),
        }
    }

    fn refuse_arguments(&self, first: &Operand, arguments: &[Operand], last: &Option<Cell>) -> Exec<()> {
        if arguments.is_empty() && last.is_none() {
            return Ok(());
        }
        match &first.kind {
            OperandKind::Pipe(pipe) => self.error(format_args!("can't give argument to non-function {pipe}")),
            _ => self.error(format_args!("can't give argument to non-function {first}")),
        }
    }

    /// A constant where nothing says what type it should be.
    fn constant(&self, number: &Number) -> Exec<Cell> {
        let text = &*number.text;
        let hexadecimal = (text.starts_with("0x") || text.starts_with("0X")) && !text.contains(['p', 'P']);
        let looks_real = text.contains(['.', 'e', 'E', 'p', 'P']) && !hexadecimal && !text.starts_with('\'');
        match (number.float, number.int) {
            (Some(float), _) if looks_real => Ok(Cell::of(Value::Float(float))),
            (_, Some(int)) => Ok(Cell::of(Value::Int(int))),
            _ => self.error(format_args!("{text} overflows int")),
        }
    }
}

fn numbered(items: impl Iterator<Item = Cell>) -> impl Iterator<Item = (Cell, Cell)> {
    (0..).zip(items).map(|(index, item)| (Cell::of(Value::Int(index)), item))
}

/// What a function or method is given: the operands after it, and the value piped in.
struct Arguments<'t> {
    operands: &'t [Operand],
    last: Option<Cell>,
}

impl Arguments<'_> {
    fn none() -> Self {
        Arguments { operands: &[], last: None }
    }

    fn is_empty(&self) -> bool {
        self.operands.is_empty() && self.last.is_none()
    }

    fn len(&self) -> usize {
        self.operands.len() + usize::from(self.last.is_some())
    }
}

/// Something to call: a function, or an object's method.
#[derive(Clone)]
enum Target<'n> {
    Function(Callee),
    Method(Rc<dyn Object>, &'n str),
}

impl Target<'_> {
    fn run(&self, context: &mut Context<'_>, arguments: &[Value]) -> Result<Value, FunctionError> {
        match self {
            Target::Function(Callee::Builtin(builtin)) => builtin.call(arguments),
            Target::Function(Callee::Table(function)) => (function.call)(context, arguments),
            Target::Method(object, name) => object.call(name, context, arguments),
        }
    }
}

impl<'t> State<'t, '_, '_> {
    fn call(&mut self, dot: &Cell, callee: Callee, node: At<'t>, name: &str, arguments: Arguments<'t>) -> Exec<Cell> {
        let (params, rest) = match &callee {
            Callee::Builtin(builtin) => builtin.signature(),
            Callee::Table(function) => (function.params, function.rest),
        };
        self.check_count(name, params, rest, &arguments)?;
        if let Callee::Builtin(builtin @ (Builtin::And | Builtin::Or)) = callee {
            return self.short_circuit(dot, builtin, arguments);
        }
        self.call_target(dot, Target::Function(callee), node, name, (params, rest), arguments)
    }

    fn check_count(&self, name: &str, params: &[Type], rest: Option<Type>, arguments: &Arguments<'_>) -> Exec<()> {
        let (want, got) = (params.len(), arguments.len());
        if rest.is_some() && got < want {
            let given = arguments.operands.len();
            return self.error(format_args!("wrong number of args for {name}: want at least {want} got {given}"));
        }
        if rest.is_none() && got != want {
            return self.error(format_args!("wrong number of args for {name}: want {want} got {got}"));
        }
        Ok(())
    }

    fn short_circuit(&mut self, dot: &Cell, builtin: Builtin, arguments: Arguments<'t>) -> Exec<Cell> {
        let mut result = Cell::default();
        for operand in arguments.operands {
            result = self.operand(dot, operand)?;
            if result.value.is_true() == (builtin == Builtin::Or) {
                return Ok(result);
            }
        }
        Ok(arguments.last.unwrap_or(result))
    }

    fn call_target(
        &mut self,
        dot: &Cell,
        target: Target<'_>,
        node: At<'t>,
        name: &str,
        (params, rest): (&[Type], Option<Type>),
        arguments: Arguments<'t>,
    ) -> Exec<Cell> {
        self.step()?;
        let type_of = |index: usize| params.get(index).copied().or(rest).unwrap_or(Type::Any);
        let mut values = Vec::with_capacity(arguments.len());
        let mut absent = false;
        if let Target::Function(Callee::Builtin(Builtin::Len)) = target {
            let cell = match (arguments.operands.first(), &arguments.last) {
                (Some(operand), _) => self.operand(dot, operand)?,
                (None, last) => last.clone().unwrap_or_default(),
            };
            absent = cell.is_invalid();
            values.push(cell.value);
        } else {
            for (index, operand) in arguments.operands.iter().enumerate() {
                let value = self.argument(dot, operand, type_of(index))?;
                values.push(value);
            }
            if let Some(last) = arguments.last.clone() {
                let value = self.admit(last, type_of(values.len()))?;
                values.push(value);
            }
        }
        let result = if let Target::Function(Callee::Builtin(Builtin::Call)) = target {
            Err(not_a_function(arguments.operands.first(), &values[0]))
        } else if absent {
            Err(FunctionError::new("reflect: call of reflect.Value.Type on zero Value"))
        } else {
            target.run(self.context, &values)
        };
        match result {
            Ok(value) => Ok(Cell::boxed(value)),
            Err(error) => {
                self.at = node;
                if error.cause().is_some_and(|cause| cause.message.len() > MESSAGE_LIMIT_BYTES) {
                    // Each template on the way would repeat all this; who reads so far has seen enough.
                    return Err(error.into_cause().expect("just seen"));
                }
                let message = self.located(format_args!("error calling {name}: {error}"));
                Err(ExecError { message, cause: Some(Box::new(error)) })
            }
        }
    }
}

/// What `call` says of a value: there are no functions among ours.
fn not_a_function(operand: Option<&Operand>, value: &Value) -> FunctionError {
    if value.is_nil() {
        return "call of nil".into();
    }
    let type_name = value.type_name();
    let name = match (operand, value) {
        (Some(operand), _) => operand.to_string(),
        (None, Value::String(text)) => text.to_string(),
        (None, _) => format!("<{type_name} Value>"),
    };
    format!("non-function {name} of type {type_name}").into()
}

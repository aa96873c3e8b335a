//! Tokens to templates.

mod number;

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use crate::{
    builtin::Builtin,
    function::Functions,
    lex::{Lexer, Token, TokenKind},
    node::{Branch, Callee, Command, Constant, Invocation, Node, Operand, OperandKind, Pipe, Template},
    quote::{quote, unquote},
    stack::Stack,
    value::Str,
};

/// As Go has it.
const PAREN_DEPTH_LIMIT: u32 = 10_000;

/// A template that is not one: Go's message, which starts with `template: file:line:`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ParseError {
    message: String,
}

/// The templates of one text, the text's own among them, by name.
pub(crate) type Parsed = HashMap<Str, Arc<Template>>;

/// Parses `text`, in which functions not in `functions` are errors. The templates keep `shared`, the bytes of the text.
pub(crate) fn parse(name: &str, text: &str, shared: Arc<[u8]>, functions: &Functions) -> Result<Parsed, ParseError> {
    let name: Str = name.into();
    let mut parser = Parser {
        lexer: Lexer::new(text),
        input: text,
        text: shared,
        parse_name: name.clone(),
        functions,
        tokens: [Token::none(), Token::none(), Token::none()],
        peeked: 0,
        words: HashSet::new(),
        parsed: Parsed::new(),
        scope: Scope::default(),
        nodes: Vec::new(),
        commands: Vec::new(),
        operands: Vec::new(),
        stack: Stack::here(crate::set::PARSE_STACK_BYTES),
    };
    parser.file(name)?;
    Ok(parser.parsed)
}

/// What each definition has of its own.
struct Scope {
    variables: Vec<Str>,
    action_line: u32,
    range_depth: u32,
    paren_depth: u32,
}

impl Default for Scope {
    fn default() -> Scope {
        Scope { variables: vec!["$".into()], action_line: 0, range_depth: 0, paren_depth: 0 }
    }
}

struct Parser<'p> {
    lexer: Lexer<'p>,
    input: &'p str,
    text: Arc<[u8]>,
    parse_name: Str,
    functions: &'p Functions,
    /// Three tokens of look-ahead; those not yet taken are the first `peeked`, in reverse order.
    tokens: [Token; 3],
    peeked: usize,
    /// The names and constants so far; most come again and again, and are held once.
    words: HashSet<Str>,
    parsed: Parsed,
    scope: Scope,
    /// What lists under way have so far, the innermost on top. A finished list is taken off, of exactly its size.
    nodes: Vec<Node>,
    commands: Vec<Command>,
    operands: Vec<Operand>,
    stack: Stack,
}

/// A node, or what ends a list of nodes.
enum Item {
    Node(Node),
    End,
    Else,
}

/// The variables at the head of a pipeline.
#[derive(Default)]
struct Declared {
    assigns: bool,
    variables: Vec<Str>,
}

type Parse<T> = Result<T, ParseError>;

/// The list whose first item is at `start`.
fn taken<T>(pile: &mut Vec<T>, start: usize) -> Box<[T]> {
    pile.drain(start..).collect()
}

impl<'p> Parser<'p> {
    fn next(&mut self) -> Token {
        if self.peeked > 0 {
            self.peeked -= 1;
        } else {
            self.tokens[0] = self.lexer.next_token();
        }
        self.tokens[self.peeked].clone()
    }

    fn backup(&mut self) {
        self.peeked += 1;
    }

    fn peek(&mut self) -> &Token {
        if self.peeked == 0 {
            self.peeked = 1;
            self.tokens[0] = self.lexer.next_token();
        }
        &self.tokens[self.peeked - 1]
    }

    fn next_non_space(&mut self) -> Token {
        loop {
            let token = self.next();
            if token.kind != TokenKind::Space {
                return token;
            }
        }
    }

    fn peek_non_space(&mut self) -> Token {
        let token = self.next_non_space();
        self.backup();
        token
    }

    fn word(&self, token: &Token) -> &'p str {
        token.text(self.input)
    }

    fn shared(&mut self, word: &str) -> Str {
        if let Some(known) = self.words.get(word) {
            return known.clone();
        }
        let word: Str = word.into();
        self.words.insert(word.clone());
        word
    }

    fn error<T>(&self, message: impl std::fmt::Display) -> Parse<T> {
        let message = format!("template: {}:{}: {message}", self.parse_name, self.tokens[0].line);
        Err(ParseError { message })
    }

    fn unexpected<T>(&self, token: &Token, context: &str) -> Parse<T> {
        let described = token.describe(self.input);
        if token.kind != TokenKind::Error {
            return self.error(format_args!("unexpected {described} in {context}"));
        }
        let line = self.scope.action_line;
        if line == 0 || line == token.line {
            return self.error(described);
        }
        let joint = if described.ends_with(" action") { "" } else { " in action" };
        self.error(format_args!("{described}{joint} started at {}:{line}", self.parse_name))
    }

    fn expect(&mut self, kind: TokenKind, context: &str) -> Parse<Token> {
        let token = self.next_non_space();
        if token.kind == kind { Ok(token) } else { self.unexpected(&token, context) }
    }

    /// Everything up to the end of the text.
    fn file(&mut self, name: Str) -> Parse<()> {
        while self.peek().kind != TokenKind::Eof {
            if self.peek().kind == TokenKind::LeftDelim {
                let delimiter = self.next();
                if self.next_non_space().kind == TokenKind::Define {
                    self.definition()?;
                    continue;
                }
                self.tokens[1] = delimiter;
                self.peeked = 2;
            }
            match self.text_or_action()? {
                Item::Node(node) => self.nodes.push(node),
                Item::End => return self.error("unexpected {{end}}"),
                Item::Else => return self.error("unexpected {{else}}"),
            }
        }
        let body = taken(&mut self.nodes, 0);
        self.add(name, body)
    }

    fn definition(&mut self) -> Parse<()> {
        let context = "define clause";
        let token = self.next_non_space();
        let name = self.template_name(&token, context)?;
        self.expect(TokenKind::RightDelim, context)?;
        let outer = std::mem::take(&mut self.scope);
        let (body, end) = self.list()?;
        if matches!(end, Item::Else) {
            return self.error(format_args!("unexpected {{{{else}}}} in {context}"));
        }
        self.add(name, body)?;
        self.scope = outer;
        Ok(())
    }

    /// Two definitions of one name in one text are an error, unless one of them is empty.
    fn add(&mut self, name: Str, body: Box<[Node]>) -> Parse<()> {
        let template =
            Template { name: name.clone(), parse_name: self.parse_name.clone(), text: self.text.clone(), body };
        match self.parsed.get(&name) {
            Some(old) if !old.is_empty() => {
                if !template.is_empty() {
                    let name = quote(name.as_bytes());
                    return self.error(format_args!("template: multiple definition of template {name}"));
                }
            }
            _ => {
                self.parsed.insert(name, Arc::new(template));
            }
        }
        Ok(())
    }

    /// Nodes up to an `end` or `else`, which is returned with them.
    fn list(&mut self) -> Parse<(Box<[Node]>, Item)> {
        if self.stack.is_spent() {
            return self.error("the actions are nested too deeply");
        }
        let start = self.nodes.len();
        while self.peek_non_space().kind != TokenKind::Eof {
            match self.text_or_action()? {
                Item::Node(node) => self.nodes.push(node),
                end => return Ok((taken(&mut self.nodes, start), end)),
            }
        }
        self.error("unexpected EOF")
    }

    fn text_or_action(&mut self) -> Parse<Item> {
        let token = self.next_non_space();
        match token.kind {
            TokenKind::Text => Ok(Item::Node(Node::Text(self.word(&token).into()))),
            TokenKind::LeftDelim => {
                self.scope.action_line = token.line;
                let item = self.action()?;
                self.scope.action_line = 0;
                Ok(item)
            }
            _ => self.unexpected(&token, "input"),
        }
    }

    fn action(&mut self) -> Parse<Item> {
        let token = self.next_non_space();
        let node = match token.kind {
            TokenKind::Block => self.block()?,
            TokenKind::Break => self.jump(Node::Break, "break")?,
            TokenKind::Continue => self.jump(Node::Continue, "continue")?,
            TokenKind::Else => {
                let next = self.peek_non_space();
                if !matches!(next.kind, TokenKind::If | TokenKind::With) {
                    self.expect(TokenKind::RightDelim, "else")?;
                }
                return Ok(Item::Else);
            }
            TokenKind::End => {
                self.expect(TokenKind::RightDelim, "end")?;
                return Ok(Item::End);
            }
            TokenKind::If => Node::If(self.control("if")?),
            TokenKind::Range => Node::Range(self.control("range")?),
            TokenKind::With => Node::With(self.control("with")?),
            TokenKind::Template => self.invocation()?,
            _ => {
                self.backup();
                Node::Action(self.pipeline("command", TokenKind::RightDelim)?)
            }
        };
        Ok(Item::Node(node))
    }

    fn jump(&mut self, node: Node, word: &str) -> Parse<Node> {
        let token = self.next_non_space();
        if token.kind != TokenKind::RightDelim {
            return self.unexpected(&token, &format!("{{{{{word}}}}}"));
        }
        if self.scope.range_depth == 0 {
            return self.error(format_args!("{{{{{word}}}}} outside {{{{range}}}}"));
        }
        Ok(node)
    }

    fn control(&mut self, context: &str) -> Parse<Box<Branch>> {
        let variables = self.scope.variables.len();
        let pipe = self.pipeline(context, TokenKind::RightDelim)?;
        let ranges = u32::from(context == "range");
        self.scope.range_depth += ranges;
        let (body, end) = self.list()?;
        self.scope.range_depth -= ranges;
        let otherwise = match end {
            Item::Else => Some(self.otherwise(context)?),
            _ => None,
        };
        self.scope.variables.truncate(variables);
        Ok(Box::new(Branch { pipe, body, otherwise }))
    }

    /// What follows `else`: `else if` and `else with` nest, and share the `end`.
    fn otherwise(&mut self, context: &str) -> Parse<Box<[Node]>> {
        match (context, self.peek().kind) {
            ("if", TokenKind::If) => {
                self.next();
                Ok(Box::new([Node::If(self.control("if")?)]))
            }
            ("with", TokenKind::With) => {
                self.next();
                Ok(Box::new([Node::With(self.control("with")?)]))
            }
            _ => {
                let (body, end) = self.list()?;
                if matches!(end, Item::Else) {
                    return self.error("expected end; found {{else}}");
                }
                Ok(body)
            }
        }
    }

    fn block(&mut self) -> Parse<Node> {
        let context = "block clause";
        let token = self.next_non_space();
        let name = self.template_name(&token, context)?;
        let pipe = self.pipeline(context, TokenKind::RightDelim)?;
        let outer = std::mem::take(&mut self.scope);
        let (body, end) = self.list()?;
        if matches!(end, Item::Else) {
            return self.error(format_args!("unexpected {{{{else}}}} in {context}"));
        }
        self.add(name.clone(), body)?;
        self.scope = outer;
        Ok(Node::Template(Invocation { position: position(&token), name, pipe: Some(pipe) }))
    }

    fn invocation(&mut self) -> Parse<Node> {
        let context = "template clause";
        let token = self.next_non_space();
        let name = self.template_name(&token, context)?;
        let mut pipe = None;
        if self.next_non_space().kind != TokenKind::RightDelim {
            self.backup();
            pipe = Some(self.pipeline(context, TokenKind::RightDelim)?);
        }
        Ok(Node::Template(Invocation { position: position(&token), name, pipe }))
    }

    fn template_name(&mut self, token: &Token, context: &str) -> Parse<Str> {
        if !matches!(token.kind, TokenKind::String | TokenKind::RawString) {
            return self.unexpected(token, context);
        }
        let bytes = self.unquote(token)?;
        Ok(String::from_utf8_lossy(&bytes).into())
    }

    fn unquote(&self, token: &Token) -> Parse<Vec<u8>> {
        unquote(self.word(token)).map_or_else(|| self.error("invalid syntax"), Ok)
    }

    fn pipeline(&mut self, context: &str, end: TokenKind) -> Parse<Pipe> {
        let first = self.peek_non_space();
        let mut declared = Declared::default();
        while self.declaration(context, &mut declared)? {}
        let start = self.commands.len();
        loop {
            let token = self.next_non_space();
            match token.kind {
                kind if kind == end => break,
                TokenKind::Bool
                | TokenKind::CharConstant
                | TokenKind::Complex
                | TokenKind::Dot
                | TokenKind::Field
                | TokenKind::Identifier
                | TokenKind::Number
                | TokenKind::Nil
                | TokenKind::RawString
                | TokenKind::String
                | TokenKind::Variable
                | TokenKind::LeftParen => {
                    self.backup();
                    let command = self.command()?;
                    self.commands.push(command);
                }
                _ => return self.unexpected(&token, context),
            }
        }
        self.check_pipeline(&self.commands[start..], context)?;
        let (variables, commands) = (declared.variables.into(), taken(&mut self.commands, start));
        Ok(Pipe { position: position(&first), assigns: declared.assigns, variables, commands })
    }

    /// Reads one declared or assigned variable, if there is one; whether another may follow.
    fn declaration(&mut self, context: &str, declared: &mut Declared) -> Parse<bool> {
        let variable = self.peek_non_space();
        if variable.kind != TokenKind::Variable {
            return Ok(false);
        }
        self.next();
        // A space after the variable is a token of its own, and must be put back with it if this is no declaration.
        let after = self.peek().clone();
        let next = self.peek_non_space();
        match next.kind {
            TokenKind::Assign | TokenKind::Declare => {
                declared.assigns = next.kind == TokenKind::Assign;
                self.next_non_space();
                self.declare(&variable, declared);
                Ok(false)
            }
            TokenKind::Char if self.word(&next) == "," => {
                self.next_non_space();
                self.declare(&variable, declared);
                if context == "range" && declared.variables.len() < 2 {
                    return match self.peek_non_space().kind {
                        TokenKind::Variable | TokenKind::RightDelim | TokenKind::RightParen => Ok(true),
                        _ => self.error("range can only initialize variables"),
                    };
                }
                self.error(format_args!("too many declarations in {context}"))
            }
            _ if after.kind == TokenKind::Space => {
                self.tokens[1] = after;
                self.tokens[2] = variable;
                self.peeked = 3;
                Ok(false)
            }
            _ => {
                self.tokens[1] = variable;
                self.peeked = 2;
                Ok(false)
            }
        }
    }

    fn declare(&mut self, variable: &Token, declared: &mut Declared) {
        let name = self.shared(self.word(variable));
        declared.variables.push(name.clone());
        self.scope.variables.push(name);
    }

    fn check_pipeline(&self, commands: &[Command], context: &str) -> Parse<()> {
        if commands.is_empty() {
            return self.error(format_args!("missing value for {context}"));
        }
        for (index, command) in commands.iter().enumerate().skip(1) {
            let constant = matches!(
                command.operands[0].kind,
                OperandKind::Bool(_)
                    | OperandKind::Dot
                    | OperandKind::Nil
                    | OperandKind::Number(_)
                    | OperandKind::String { .. }
            );
            if constant {
                return self.error(format_args!("non executable command in pipeline stage {}", index + 1));
            }
        }
        Ok(())
    }

    fn command(&mut self) -> Parse<Command> {
        let first = self.peek_non_space();
        let start = self.operands.len();
        loop {
            self.peek_non_space();
            let operand = self.operand()?;
            self.operands.extend(operand);
            let token = self.next();
            match token.kind {
                TokenKind::Space => continue,
                TokenKind::RightDelim | TokenKind::RightParen => self.backup(),
                TokenKind::Pipe => {}
                _ => return self.unexpected(&token, "operand"),
            }
            break;
        }
        let operands = taken(&mut self.operands, start);
        if operands.is_empty() {
            return self.error("empty command");
        }
        Ok(Command { position: position(&first), operands })
    }

    /// A term and the fields chained to it.
    fn operand(&mut self) -> Parse<Option<Operand>> {
        let Some(term) = self.term()? else { return Ok(None) };
        if self.peek().kind != TokenKind::Field {
            return Ok(Some(term));
        }
        let chained = position(self.peek());
        let mut fields: Vec<Str> = Vec::new();
        while self.peek().kind == TokenKind::Field {
            let token = self.next();
            fields.push(self.shared(&self.word(&token)[1..]));
        }
        let kind = match term.kind {
            OperandKind::Field(first) => OperandKind::Field(first.iter().cloned().chain(fields).collect()),
            OperandKind::Variable { name, fields: first } => {
                OperandKind::Variable { name, fields: first.iter().cloned().chain(fields).collect() }
            }
            OperandKind::Bool(_)
            | OperandKind::String { .. }
            | OperandKind::Number(_)
            | OperandKind::Nil
            | OperandKind::Dot => {
                let term = quote(term.to_string().as_bytes());
                return self.error(format_args!("unexpected . after term {term}"));
            }
            OperandKind::Function { .. } | OperandKind::Pipe(_) | OperandKind::Chain { .. } => {
                OperandKind::Chain { start: Box::new(term), fields: fields.into() }
            }
        };
        Ok(Some(Operand { position: chained, kind }))
    }

    fn term(&mut self) -> Parse<Option<Operand>> {
        let token = self.next_non_space();
        let word = self.word(&token);
        let kind = match token.kind {
            TokenKind::Identifier => self.function(word)?,
            TokenKind::Dot => OperandKind::Dot,
            TokenKind::Nil => OperandKind::Nil,
            TokenKind::Variable => self.variable(word)?,
            TokenKind::Field => OperandKind::Field(Box::new([self.shared(&word[1..])])),
            TokenKind::Bool => OperandKind::Bool(word == "true"),
            TokenKind::CharConstant | TokenKind::Complex | TokenKind::Number => match number::parse(word, token.kind) {
                Ok(number) => OperandKind::Number(Box::new(number)),
                Err(message) => return self.error(message),
            },
            TokenKind::LeftParen => {
                if self.scope.paren_depth >= PAREN_DEPTH_LIMIT || self.stack.is_spent() {
                    return self.error("max expression depth exceeded");
                }
                self.scope.paren_depth += 1;
                let pipe = self.pipeline("parenthesized pipeline", TokenKind::RightParen)?;
                self.scope.paren_depth -= 1;
                // Go gives a parenthesized pipeline the position of its first word.
                return Ok(Some(Operand { position: pipe.position, kind: OperandKind::Pipe(Box::new(pipe)) }));
            }
            TokenKind::String | TokenKind::RawString => {
                let value = match String::from_utf8(self.unquote(&token)?) {
                    Ok(text) => Constant::Text(self.shared(&text)),
                    Err(error) => Constant::Bytes(error.into_bytes().into()),
                };
                OperandKind::String { quoted: self.shared(word), value }
            }
            _ => {
                self.backup();
                return Ok(None);
            }
        };
        Ok(Some(Operand { position: position(&token), kind }))
    }

    fn function(&mut self, name: &str) -> Parse<OperandKind> {
        let table = self.functions.get(name).map(Callee::Table);
        match table.or_else(|| Builtin::named(name).map(Callee::Builtin)) {
            Some(callee) => Ok(OperandKind::Function { name: self.shared(name), callee }),
            None => self.error(format_args!("function {} not defined", quote(name.as_bytes()))),
        }
    }

    fn variable(&self, name: &str) -> Parse<OperandKind> {
        match self.scope.variables.iter().find(|known| ***known == *name) {
            Some(known) => Ok(OperandKind::Variable { name: known.clone(), fields: Box::default() }),
            None => self.error(format_args!("undefined variable {}", quote(name.as_bytes()))),
        }
    }
}

fn position(token: &Token) -> u32 {
    u32::try_from(token.position).unwrap_or(u32::MAX)
}

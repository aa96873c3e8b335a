//! The parser: recursive descent over the tokens, macros expanded on the way.

use crate::{
    issue::{CompileError, Issue},
    lex::{self, Spot, Token},
    macros,
    syntax::{Element, Entry, Expr, ExprKind, FieldInit, Id, Literal, operator},
};

/// A parsed expression.
#[derive(Clone, Debug)]
pub struct Parsed {
    /// The tree.
    pub root: Expr,
    /// Byte offset of each node.
    pub positions: Vec<usize>,
}

/// Longer expressions are refused.
const MOST_CHARACTERS: usize = 100_000;
/// Deeper ones too: whoever walks the tree does so on the stack.
const DEEPEST: u16 = 250;
/// So many parentheses may be open at once; each takes a good deal of the parser's own stack.
const MOST_OPEN: usize = 64;

const RESERVED: [&str; 17] = [
    "as",
    "break",
    "const",
    "continue",
    "else",
    "for",
    "function",
    "if",
    "import",
    "let",
    "loop",
    "package",
    "namespace",
    "return",
    "var",
    "void",
    "while",
];

/// Reads an expression.
pub fn parse(text: &str) -> Result<Parsed, CompileError> {
    let fail = |issue| CompileError::new(text, vec![issue]);
    let characters = text.chars().count();
    if characters > MOST_CHARACTERS {
        let message = format!("expression code point size exceeds limit: size: {characters}, limit {MOST_CHARACTERS}");
        return Err(fail(Issue { offset: 0, message }));
    }
    let tokens = lex::tokens(text).map_err(fail)?;
    let mut parser = Parser { text, tokens, at: 0, depth: 0, tree: Tree::default() };
    let root = parser.expression().and_then(|root| parser.end().map(|()| root)).map_err(fail)?;
    if !parser.tree.issues.is_empty() {
        return Err(CompileError::new(text, parser.tree.issues));
    }
    Ok(Parsed { root, positions: parser.tree.positions })
}

/// Nodes under construction.
#[derive(Default)]
pub struct Tree {
    positions: Vec<usize>,
    /// How many levels are below each node, itself included.
    depths: Vec<u16>,
    issues: Vec<Issue>,
}

impl Tree {
    /// A new node at a place.
    pub fn node(&mut self, offset: usize, kind: ExprKind) -> Expr {
        let depth = self.below(&kind).saturating_add(1);
        let id = self.id(offset);
        self.depths[id] = depth;
        Expr { id, kind }
    }

    /// A new number.
    pub fn id(&mut self, offset: usize) -> Id {
        self.positions.push(offset);
        self.depths.push(0);
        self.positions.len() - 1
    }

    fn below(&self, kind: &ExprKind) -> u16 {
        let depth = |expr: &Expr| self.depths[expr.id];
        match kind {
            ExprKind::Literal(_) | ExprKind::Ident(_) => 0,
            ExprKind::Select { operand, .. } => depth(operand),
            ExprKind::Call { target, args, .. } => {
                target.as_deref().into_iter().chain(args).map(depth).max().unwrap_or(0)
            }
            ExprKind::List(elements) => elements.iter().map(|element| depth(&element.value)).max().unwrap_or(0),
            ExprKind::Map(entries) => {
                entries.iter().map(|entry| depth(&entry.key).max(depth(&entry.value))).max().unwrap_or(0)
            }
            ExprKind::Struct { fields, .. } => fields.iter().map(|field| depth(&field.value)).max().unwrap_or(0),
            ExprKind::Comprehension(fold) => {
                let parts = [&fold.range, &fold.init, &fold.condition, &fold.step, &fold.result];
                parts.into_iter().map(depth).max().unwrap_or(0)
            }
        }
    }

    /// Refuses a node that has grown too deep.
    fn check_depth(&self, expr: &Expr) -> Result<(), Issue> {
        if self.depths[expr.id] <= DEEPEST {
            return Ok(());
        }
        let message = format!("expression recursion limit exceeded: {DEEPEST}");
        Err(Issue { offset: self.positions[expr.id], message })
    }

    /// Where a node stands.
    pub fn offset(&self, id: Id) -> usize {
        self.positions[id]
    }

    /// Notes something wrong that does not end the parsing.
    pub fn report(&mut self, offset: usize, message: impl Into<String>) {
        self.issues.push(Issue { offset, message: message.into() });
    }

    /// A call of a function by its name.
    pub fn call(&mut self, offset: usize, function: &str, args: Vec<Expr>) -> Expr {
        self.node(offset, ExprKind::Call { function: function.to_owned(), target: None, args })
    }

    /// A name.
    pub fn ident(&mut self, offset: usize, name: &str) -> Expr {
        self.node(offset, ExprKind::Ident(name.to_owned()))
    }

    /// A constant.
    pub fn literal(&mut self, offset: usize, literal: Literal) -> Expr {
        self.node(offset, ExprKind::Literal(literal))
    }
}

struct Parser<'a> {
    text: &'a str,
    tokens: Vec<Spot>,
    at: usize,
    depth: usize,
    tree: Tree,
}

const STARTS: &str =
    "{'[', '{', '(', '.', '-', '!', 'true', 'false', 'null', NUM_FLOAT, NUM_INT, NUM_UINT, STRING, BYTES, IDENTIFIER}";

impl Parser<'_> {
    fn peek(&self) -> &Token {
        &self.tokens[self.at].token
    }

    fn offset(&self) -> usize {
        self.tokens[self.at].start
    }

    fn is(&self, mark: &str) -> bool {
        matches!(self.peek(), Token::Mark(found) if *found == mark)
    }

    /// Takes a mark where it stands next; its place.
    fn take(&mut self, mark: &str) -> Option<usize> {
        let offset = self.offset();
        self.is(mark).then(|| self.at += 1).map(|()| offset)
    }

    fn need(&mut self, mark: &str, expected: &str) -> Result<usize, Issue> {
        self.take(mark).ok_or_else(|| self.unexpected(expected, |token| matches!(token, Token::Mark(m) if *m == mark)))
    }

    fn end(&mut self) -> Result<(), Issue> {
        match self.peek() {
            Token::End => Ok(()),
            _ => Err(self.unexpected("<EOF>", |token| *token == Token::End)),
        }
    }

    /// The present token does not belong here. One that is merely too much is told apart from a wrong one.
    fn unexpected(&self, expected: &str, fits: impl Fn(&Token) -> bool) -> Issue {
        let spot = &self.tokens[self.at];
        let shown = match spot.token {
            Token::End => "<EOF>",
            _ => &self.text[spot.start..spot.end],
        };
        let extra = self.tokens.get(self.at + 1).is_some_and(|next| fits(&next.token));
        let how = if extra { "extraneous" } else { "mismatched" };
        Issue { offset: spot.start, message: format!("Syntax error: {how} input '{shown}' expecting {expected}") }
    }

    fn deeper<T>(&mut self, parse: impl FnOnce(&mut Self) -> Result<T, Issue>) -> Result<T, Issue> {
        self.depth += 1;
        if self.depth > MOST_OPEN {
            let message = format!("expression recursion limit exceeded: {MOST_OPEN}");
            return Err(Issue { offset: self.offset(), message });
        }
        let parsed = parse(self);
        self.depth -= 1;
        parsed
    }

    fn expression(&mut self) -> Result<Expr, Issue> {
        self.deeper(|parser| {
            let condition = parser.either()?;
            let Some(offset) = parser.take("?") else { return Ok(condition) };
            let yes = parser.either()?;
            parser.need(":", "':'")?;
            let no = parser.expression()?;
            Ok(parser.tree.call(offset, operator::CONDITIONAL, vec![condition, yes, no]))
        })
    }

    fn either(&mut self) -> Result<Expr, Issue> {
        self.chain("||", operator::OR, |parser| parser.chain("&&", operator::AND, Self::relation))
    }

    /// A chain of one logical operator, as a balanced tree: a long one does not become a deep one.
    fn chain(
        &mut self,
        mark: &str,
        function: &str,
        term: impl Fn(&mut Self) -> Result<Expr, Issue>,
    ) -> Result<Expr, Issue> {
        let mut terms = vec![term(self)?];
        let mut places = Vec::new();
        while let Some(offset) = self.take(mark) {
            places.push(offset);
            terms.push(term(self)?);
        }
        Ok(self.balance(function, terms, &places))
    }

    fn balance(&mut self, function: &str, mut terms: Vec<Expr>, places: &[usize]) -> Expr {
        if places.is_empty() {
            return terms.remove(0);
        }
        let middle = places.len() / 2;
        let right = terms.split_off(middle + 1);
        let left = self.balance(function, terms, &places[..middle]);
        let right = self.balance(function, right, &places[middle + 1..]);
        self.tree.call(places[middle], function, vec![left, right])
    }

    fn relation(&mut self) -> Result<Expr, Issue> {
        let relations = [
            ("==", operator::EQUALS),
            ("!=", operator::NOT_EQUALS),
            ("<=", operator::LESS_EQUALS),
            (">=", operator::GREATER_EQUALS),
            ("<", operator::LESS),
            (">", operator::GREATER),
            ("in", operator::IN),
        ];
        self.left_to_right(&relations, |parser| {
            let sums = [("+", operator::ADD), ("-", operator::SUBTRACT)];
            parser.left_to_right(&sums, |parser| {
                let products = [("*", operator::MULTIPLY), ("/", operator::DIVIDE), ("%", operator::MODULO)];
                parser.left_to_right(&products, Self::unary)
            })
        })
    }

    fn left_to_right(
        &mut self,
        operators: &[(&str, &str)],
        term: impl Fn(&mut Self) -> Result<Expr, Issue>,
    ) -> Result<Expr, Issue> {
        let mut left = term(self)?;
        'more: loop {
            for (mark, function) in operators {
                if let Some(offset) = self.take(mark) {
                    let right = term(self)?;
                    left = self.tree.call(offset, function, vec![left, right]);
                    self.tree.check_depth(&left)?;
                    continue 'more;
                }
            }
            return Ok(left);
        }
    }

    fn unary(&mut self) -> Result<Expr, Issue> {
        for (mark, function) in [("!", operator::NOT), ("-", operator::NEGATE)] {
            let Some(offset) = self.take(mark) else { continue };
            let mut count = 1;
            // A number's own sign belongs to the number.
            if mark == "-"
                && matches!(self.peek(), Token::Literal(Literal::Int(_) | Literal::Double(_)) | Token::SmallestInt)
            {
                let literal = match self.peek().clone() {
                    Token::Literal(Literal::Int(value)) => Literal::Int(-value),
                    Token::Literal(Literal::Double(value)) => Literal::Double(-value),
                    _ => Literal::Int(i64::MIN),
                };
                self.at += 1;
                let literal = self.tree.literal(offset, literal);
                return self.members(literal);
            }
            while self.take(mark).is_some() {
                count += 1;
            }
            let operand = self.member()?;
            // Two of a kind cancel out.
            return Ok(if count % 2 == 0 { operand } else { self.tree.call(offset, function, vec![operand]) });
        }
        self.member()
    }

    fn member(&mut self) -> Result<Expr, Issue> {
        let primary = self.primary()?;
        self.members(primary)
    }

    fn members(&mut self, mut expr: Expr) -> Result<Expr, Issue> {
        loop {
            self.tree.check_depth(&expr)?;
            if let Some(offset) = self.take(".") {
                let optional = self.take("?").is_some();
                let (name, plain) = match self.peek().clone() {
                    Token::Ident(name) => (name, true),
                    Token::Escaped(name) => (name, false),
                    _ => return Err(self.unexpected("{IDENTIFIER, ESC_IDENTIFIER}", |t| matches!(t, Token::Ident(_)))),
                };
                self.at += 1;
                if optional {
                    let field = self.tree.literal(offset, Literal::String(name));
                    expr = self.tree.call(offset, operator::OPT_SELECT, vec![expr, field]);
                    continue;
                }
                if plain && self.is("(") {
                    let open = self.offset();
                    let args = self.arguments()?;
                    expr = self.method(open, expr, name, args);
                    continue;
                }
                let select = ExprKind::Select { operand: Box::new(expr), field: name, test_only: false };
                expr = self.tree.node(offset, select);
            } else if let Some(offset) = self.take("[") {
                let optional = self.take("?").is_some();
                let index = self.expression()?;
                self.need("]", "']'")?;
                let function = if optional { operator::OPT_INDEX } else { operator::INDEX };
                expr = self.tree.call(offset, function, vec![expr, index]);
            } else if self.is("{")
                && let Some(name) = qualified_name(&expr)
            {
                expr = self.object(name)?;
            } else {
                return Ok(expr);
            }
        }
    }

    fn method(&mut self, open: usize, target: Expr, function: String, args: Vec<Expr>) -> Expr {
        match macros::method(&mut self.tree, open, target, &function, args) {
            Ok(expanded) => expanded,
            Err((target, args)) => {
                self.tree.node(open, ExprKind::Call { function, target: Some(Box::new(target)), args })
            }
        }
    }

    fn arguments(&mut self) -> Result<Vec<Expr>, Issue> {
        self.need("(", "'('")?;
        let mut args = Vec::new();
        if self.take(")").is_some() {
            return Ok(args);
        }
        loop {
            args.push(self.expression()?);
            if self.take(",").is_none() {
                self.need(")", "{',', ')'}")?;
                return Ok(args);
            }
        }
    }

    fn primary(&mut self) -> Result<Expr, Issue> {
        let offset = self.offset();
        match self.peek().clone() {
            Token::Literal(literal) => {
                self.at += 1;
                Ok(self.tree.literal(offset, literal))
            }
            Token::SmallestInt => Err(Issue { offset, message: "invalid int literal".to_owned() }),
            Token::Mark("(") => {
                self.at += 1;
                let inner = self.expression()?;
                self.need(")", "')'")?;
                Ok(inner)
            }
            Token::Mark("[") => self.list(),
            Token::Mark("{") => self.map(),
            Token::Mark(".") => {
                self.at += 1;
                self.name(offset, ".")
            }
            Token::Ident(_) => self.name(offset, ""),
            _ => {
                let starts = |token: &Token| {
                    matches!(
                        token,
                        Token::Ident(_) | Token::Literal(_) | Token::Mark("(" | "[" | "{" | "." | "-" | "!")
                    )
                };
                Err(self.unexpected(STARTS, starts))
            }
        }
    }

    /// A name or a function; `dot` stands before names that are looked up from the outermost.
    fn name(&mut self, offset: usize, dot: &str) -> Result<Expr, Issue> {
        let Token::Ident(name) = self.peek().clone() else {
            return Err(self.unexpected("IDENTIFIER", |token| matches!(token, Token::Ident(_))));
        };
        if RESERVED.contains(&name.as_str()) {
            self.tree.report(offset, format!("reserved identifier: {name}"));
        }
        self.at += 1;
        let name = format!("{dot}{name}");
        if self.is("(") {
            let open = self.offset();
            let args = self.arguments()?;
            return Ok(match macros::function(&mut self.tree, open, &name, args) {
                Ok(expanded) => expanded,
                Err(args) => self.tree.call(open, &name, args),
            });
        }
        Ok(self.tree.ident(offset, &name))
    }

    fn list(&mut self) -> Result<Expr, Issue> {
        let offset = self.need("[", "'['")?;
        let mut elements = Vec::new();
        loop {
            if self.take("]").is_some() {
                return Ok(self.tree.node(offset, ExprKind::List(elements)));
            }
            let optional = self.take("?").is_some();
            elements.push(Element { value: self.expression()?, optional });
            if self.take(",").is_none() {
                self.need("]", "{',', ']'}")?;
                return Ok(self.tree.node(offset, ExprKind::List(elements)));
            }
        }
    }

    fn map(&mut self) -> Result<Expr, Issue> {
        let offset = self.need("{", "'{'")?;
        let mut entries = Vec::new();
        loop {
            if self.take("}").is_some() {
                break;
            }
            let optional = self.take("?").is_some();
            let key = self.expression()?;
            let at = self.need(":", "':'")?;
            let id = self.tree.id(at);
            entries.push(Entry { id, key, value: self.expression()?, optional });
            if self.take(",").is_none() {
                self.need("}", "{',', '}'}")?;
                break;
            }
        }
        Ok(self.tree.node(offset, ExprKind::Map(entries)))
    }

    fn object(&mut self, name: String) -> Result<Expr, Issue> {
        let offset = self.need("{", "'{'")?;
        let mut fields = Vec::new();
        loop {
            if self.take("}").is_some() {
                break;
            }
            let optional = self.take("?").is_some();
            let (Token::Ident(field) | Token::Escaped(field)) = self.peek().clone() else {
                return Err(self.unexpected("{'}', ',', IDENTIFIER}", |t| matches!(t, Token::Ident(_))));
            };
            self.at += 1;
            let at = self.need(":", "':'")?;
            let id = self.tree.id(at);
            fields.push(FieldInit { id, name: field, value: self.expression()?, optional });
            if self.take(",").is_none() {
                self.need("}", "{',', '}'}")?;
                break;
            }
        }
        Ok(self.tree.node(offset, ExprKind::Struct { name, fields }))
    }
}

/// `a.b.c` as one name, where nothing else is in it.
pub fn qualified_name(expr: &Expr) -> Option<String> {
    match &expr.kind {
        ExprKind::Ident(name) => Some(name.clone()),
        ExprKind::Select { operand, field, test_only: false } => Some(format!("{}.{field}", qualified_name(operand)?)),
        _ => None,
    }
}

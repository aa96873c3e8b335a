//! The macros: what looks like a call and becomes something else before anything is checked.

use crate::{
    parse::Tree,
    syntax::{ACCUMULATOR, Comprehension, Element, Expr, ExprKind, Literal, operator},
};

/// Expands a function call, or gives its arguments back.
pub fn function(tree: &mut Tree, at: usize, name: &str, mut args: Vec<Expr>) -> Result<Expr, Vec<Expr>> {
    if name != "has" || args.len() != 1 {
        return Err(args);
    }
    let argument = args.remove(0);
    Ok(match argument.kind {
        ExprKind::Select { operand, field, .. } => tree.node(at, ExprKind::Select { operand, field, test_only: true }),
        _ => {
            tree.report(tree.offset(argument.id), "invalid argument to has() macro");
            argument
        }
    })
}

/// Expands a method call, or gives target and arguments back.
pub fn method(
    tree: &mut Tree,
    at: usize,
    target: Expr,
    name: &str,
    args: Vec<Expr>,
) -> Result<Expr, (Expr, Vec<Expr>)> {
    let is_cel = matches!(&target.kind, ExprKind::Ident(name) if name == "cel");
    let mut macros = Expander { tree, at };
    Ok(match (name, args.len()) {
        ("bind", 3) if is_cel => macros.bind(args),
        ("all" | "exists" | "exists_one" | "existsOne", 2) => macros.quantifier(target, name, args),
        ("all" | "exists" | "exists_one" | "existsOne", 3) => macros.quantifier(target, name, args),
        ("map", 2 | 3) | ("filter", 2) => macros.transform(target, name, args, 1),
        ("transformList" | "transformMap" | "transformMapEntry", 3 | 4) => macros.transform(target, name, args, 2),
        ("optMap" | "optFlatMap", 2) => macros.optional(target, name == "optMap", args),
        ("sortBy", 2) => macros.sort_by(target, args),
        _ => return Err((target, args)),
    })
}

struct Expander<'a> {
    tree: &'a mut Tree,
    at: usize,
}

impl Expander<'_> {
    /// The names of the variables in the first arguments.
    fn names(&mut self, args: &[Expr], count: usize) -> Vec<String> {
        let mut names: Vec<String> = Vec::new();
        for arg in &args[..count] {
            let offset = self.tree.offset(arg.id);
            match &arg.kind {
                ExprKind::Ident(name) if !name.starts_with('.') => {
                    if names.contains(name) {
                        self.tree.report(offset, format!("duplicate variable name: {name}"));
                    }
                    names.push(name.clone());
                }
                _ => {
                    self.tree.report(offset, "argument must be a simple name");
                    names.push("_".to_owned());
                }
            }
        }
        names
    }

    fn accumulator(&mut self) -> Expr {
        self.tree.ident(self.at, ACCUMULATOR)
    }

    fn call(&mut self, function: &str, args: Vec<Expr>) -> Expr {
        self.tree.call(self.at, function, args)
    }

    fn literal(&mut self, literal: Literal) -> Expr {
        self.tree.literal(self.at, literal)
    }

    fn fold(&mut self, range: Expr, names: Vec<String>, parts: [Expr; 4]) -> Expr {
        let [init, condition, step, result] = parts;
        let mut names = names.into_iter();
        let comprehension = Comprehension {
            range,
            variable: names.next().unwrap_or_default(),
            second: names.next(),
            accumulator: ACCUMULATOR.to_owned(),
            init,
            condition,
            step,
            result,
        };
        self.tree.node(self.at, ExprKind::Comprehension(Box::new(comprehension)))
    }

    fn bind(&mut self, args: Vec<Expr>) -> Expr {
        let name = self.names(&args, 1).remove(0);
        let mut args = args.into_iter().skip(1);
        let (Some(init), Some(result)) = (args.next(), args.next()) else {
            unreachable!("three arguments were counted")
        };
        self.bound(&name, init, result)
    }

    /// `result` with `name` standing for `init`: a fold over nothing.
    fn bound(&mut self, name: &str, init: Expr, result: Expr) -> Expr {
        let comprehension = Comprehension {
            range: self.tree.node(self.at, ExprKind::List(Vec::new())),
            variable: "#unused".to_owned(),
            second: None,
            accumulator: name.to_owned(),
            init,
            condition: self.literal(Literal::Bool(false)),
            step: self.tree.ident(self.at, name),
            result,
        };
        self.tree.node(self.at, ExprKind::Comprehension(Box::new(comprehension)))
    }

    fn quantifier(&mut self, range: Expr, name: &str, mut args: Vec<Expr>) -> Expr {
        let count = args.len() - 1;
        let names = self.names(&args, count);
        let predicate = args.remove(count);
        let so_far = self.accumulator();
        let (init, condition, step) = match name {
            "all" => {
                let condition = self.call(operator::NOT_STRICTLY_FALSE, vec![so_far]);
                let so_far = self.accumulator();
                let step = self.call(operator::AND, vec![so_far, predicate]);
                (Literal::Bool(true), condition, step)
            }
            "exists" => {
                let not = self.call(operator::NOT, vec![so_far]);
                let condition = self.call(operator::NOT_STRICTLY_FALSE, vec![not]);
                let so_far = self.accumulator();
                let step = self.call(operator::OR, vec![so_far, predicate]);
                (Literal::Bool(false), condition, step)
            }
            _ => {
                let one = self.literal(Literal::Int(1));
                let more = self.call(operator::ADD, vec![so_far, one]);
                let same = self.accumulator();
                let step = self.call(operator::CONDITIONAL, vec![predicate, more, same]);
                (Literal::Int(0), self.literal(Literal::Bool(true)), step)
            }
        };
        let counted = matches!(init, Literal::Int(_));
        let init = self.literal(init);
        let mut result = self.accumulator();
        if counted {
            let one = self.literal(Literal::Int(1));
            result = self.call(operator::EQUALS, vec![result, one]);
        }
        self.fold(range, names, [init, condition, step, result])
    }

    /// `map`, `filter` and the two-variable forms.
    fn transform(&mut self, range: Expr, name: &str, args: Vec<Expr>, variables: usize) -> Expr {
        let names = self.names(&args, variables);
        let mut rest: Vec<Expr> = args.into_iter().skip(variables).collect();
        let (filter, value) = match (name, rest.pop()) {
            ("filter", Some(predicate)) => (Some(predicate), self.tree.ident(self.at, &names[0])),
            (_, Some(value)) => (rest.pop(), value),
            (_, None) => unreachable!("the arguments were counted"),
        };
        let so_far = self.accumulator();
        let (init, mut step) = match name {
            "transformMap" => {
                let key = self.tree.ident(self.at, &names[0]);
                (ExprKind::Map(Vec::new()), self.call("cel.@mapInsert", vec![so_far, key, value]))
            }
            "transformMapEntry" => (ExprKind::Map(Vec::new()), self.call("cel.@mapInsert", vec![so_far, value])),
            _ => {
                let one = ExprKind::List(vec![Element { value, optional: false }]);
                let one = self.tree.node(self.at, one);
                (ExprKind::List(Vec::new()), self.call(operator::ADD, vec![so_far, one]))
            }
        };
        if let Some(filter) = filter {
            let same = self.accumulator();
            step = self.call(operator::CONDITIONAL, vec![filter, step, same]);
        }
        let init = self.tree.node(self.at, init);
        let condition = self.literal(Literal::Bool(true));
        let result = self.accumulator();
        self.fold(range, names, [init, condition, step, result])
    }

    /// `target.optMap(name, value)`.
    fn optional(&mut self, target: Expr, wrap: bool, args: Vec<Expr>) -> Expr {
        let name = self.names(&args, 1).remove(0);
        let Some(value) = args.into_iter().nth(1) else { unreachable!("two arguments were counted") };
        let method = |macros: &mut Self, target: Expr, function: &str| {
            let call =
                ExprKind::Call { function: function.to_owned(), target: Some(Box::new(target)), args: Vec::new() };
            macros.tree.node(macros.at, call)
        };
        let condition = method(self, target.clone(), "hasValue");
        let inner = method(self, target, "value");
        let mut mapped = self.bound(&name, inner, value);
        if wrap {
            mapped = self.call("optional.of", vec![mapped]);
        }
        let none = self.call("optional.none", Vec::new());
        self.call(operator::CONDITIONAL, vec![condition, mapped, none])
    }

    fn sort_by(&mut self, target: Expr, args: Vec<Expr>) -> Expr {
        const INPUT: &str = "@__sortBy_input__";
        let range = self.tree.ident(self.at, INPUT);
        let keys = self.transform(range, "map", args, 1);
        let input = self.tree.ident(self.at, INPUT);
        let call = ExprKind::Call {
            function: "@sortByAssociatedKeys".to_owned(),
            target: Some(Box::new(input)),
            args: vec![keys],
        };
        let sorted = self.tree.node(self.at, call);
        self.bound(INPUT, target, sorted)
    }
}

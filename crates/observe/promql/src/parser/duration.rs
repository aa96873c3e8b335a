//! Lengths of time in brackets and behind `offset`: literals, and expressions of them.

use super::{
    ast::{BinaryOp, DurationExpr, Length, Number, Span},
    grammar::{Parsed, Parser},
    token::{Kind, Word},
};

/// Seconds that do not fit nanoseconds in 64 bits.
fn is_out_of_range(seconds: f64) -> bool {
    seconds.abs() > (i64::MAX as f64) / 1e9
}

fn to_length(expr: DurationExpr) -> Length {
    match expr {
        DurationExpr::Literal(number) => Length::Ns((number.value * 1e9).round() as i64),
        other => Length::Computed(Box::new(other)),
    }
}

impl Parser<'_> {
    /// What stands in brackets: greater than nothing.
    pub(super) fn length(&mut self) -> Parsed<Length> {
        let expr = self.duration_expr(0)?;
        if let DurationExpr::Literal(number) = &expr
            && number.value <= 0.0
        {
            return self.stop(number.span, "duration must be greater than 0");
        }
        Ok(to_length(expr))
    }

    /// What stands behind `offset`. Operators after a bare literal or call belong to the query, not to the offset;
    /// after parentheses they belong to the offset.
    pub(super) fn offset_length(&mut self) -> Parsed<Length> {
        if self.token.kind == Kind::LeftParen {
            return self.duration_expr(0).map(to_length);
        }
        let Kind::Op(op @ (BinaryOp::Add | BinaryOp::Sub)) = self.token.kind else {
            return self.duration_primary().map(to_length);
        };
        let sign = self.advance().span();
        let operand = self.duration_primary()?;
        self.signed(op, sign, operand).map(to_length)
    }

    fn duration_expr(&mut self, least: u8) -> Parsed<DurationExpr> {
        let mut lhs = self.duration_unary()?;
        while let Kind::Op(op) = self.token.kind
            && op.precedence() >= least.max(BinaryOp::Add.precedence())
            && op != BinaryOp::Atan2
        {
            let sign = self.advance().span();
            let next = if op == BinaryOp::Pow { op.precedence() } else { op.precedence() + 1 };
            let rhs = self.duration_expr(next)?;
            self.must_be_enabled(lhs.span());
            if let DurationExpr::Literal(Number { value: 0.0, .. }) = rhs {
                match op {
                    BinaryOp::Div => return self.stop(sign, "division by zero"),
                    BinaryOp::Mod => return self.stop(sign, "modulo by zero"),
                    _ => {}
                }
            }
            lhs = DurationExpr::Binary { op, lhs: Box::new(lhs), rhs: Box::new(rhs) };
        }
        Ok(lhs)
    }

    fn duration_unary(&mut self) -> Parsed<DurationExpr> {
        let Kind::Op(op @ (BinaryOp::Add | BinaryOp::Sub)) = self.token.kind else { return self.duration_primary() };
        let sign = self.advance().span();
        let operand = self.duration_expr(BinaryOp::Pow.precedence())?;
        self.signed(op, sign, operand)
    }

    fn signed(&mut self, op: BinaryOp, sign: Span, operand: DurationExpr) -> Parsed<DurationExpr> {
        let negative = op == BinaryOp::Sub;
        match operand {
            DurationExpr::Literal(mut number) => {
                if negative {
                    number.value = -number.value;
                }
                if is_out_of_range(number.value) {
                    return self.stop(sign, "duration out of range");
                }
                number.span.start = sign.start;
                Ok(DurationExpr::Literal(number))
            }
            operand if negative => Ok(DurationExpr::Negated { expr: Box::new(operand), start: sign.start }),
            operand => Ok(operand),
        }
    }

    fn duration_primary(&mut self) -> Parsed<DurationExpr> {
        match self.token.kind {
            Kind::Number | Kind::Duration => {
                let number = self.number()?;
                if is_out_of_range(number.value) {
                    return self.stop(number.span, "duration out of range");
                }
                Ok(DurationExpr::Literal(number))
            }
            Kind::Word(word @ (Word::Step | Word::Range)) => {
                let start = self.advance().span();
                self.expect(Kind::LeftParen)?;
                let span = start.to(self.expect(Kind::RightParen)?.span());
                self.must_be_enabled(span);
                Ok(if word == Word::Step { DurationExpr::Step(span) } else { DurationExpr::Range(span) })
            }
            Kind::Word(word @ (Word::MaxOf | Word::MinOf)) => {
                let start = self.advance().span();
                self.expect(Kind::LeftParen)?;
                let lhs = Box::new(self.duration_expr(0)?);
                self.expect(Kind::Comma)?;
                let rhs = Box::new(self.duration_expr(0)?);
                let span = start.to(self.expect(Kind::RightParen)?.span());
                self.must_be_enabled(span);
                Ok(DurationExpr::Extreme { most: word == Word::MaxOf, lhs, rhs, span })
            }
            Kind::LeftParen => {
                self.advance();
                let inner = self.nested(|parser| parser.duration_expr(0))?;
                self.expect(Kind::RightParen)?;
                self.must_be_enabled(inner.span());
                Ok(match inner {
                    literal @ (DurationExpr::Literal(_) | DurationExpr::Wrapped(_)) => literal,
                    other => DurationExpr::Wrapped(Box::new(other)),
                })
            }
            Kind::Op(BinaryOp::Add | BinaryOp::Sub) => self.nested(Self::duration_unary),
            _ => self.unexpected(),
        }
    }

    fn must_be_enabled(&mut self, span: Span) {
        if !self.options.duration_expressions {
            self.error(span, "experimental duration expression is not enabled");
        }
    }
}

//! What type parameters stand for, found while arguments are held against parameters.

use std::collections::HashMap;

use crate::types::Type;

/// What is known of type parameters.
#[derive(Default)]
pub struct Substitution {
    bound: HashMap<usize, Type>,
    order: Vec<usize>,
    next: usize,
}

impl Substitution {
    /// A parameter nothing is known of.
    pub fn fresh(&mut self) -> Type {
        self.next += 1;
        Type::Param(self.next - 1)
    }

    /// To come back to.
    pub fn mark(&self) -> usize {
        self.order.len()
    }

    /// Forgets what was found since.
    pub fn reset(&mut self, mark: usize) {
        for param in self.order.drain(mark..) {
            self.bound.remove(&param);
        }
    }

    fn bind(&mut self, param: usize, to: Type) {
        // A parameter that is inside what it stands for would have no end.
        if self.mentions(&to, param) {
            return;
        }
        if self.bound.insert(param, to).is_none() {
            self.order.push(param);
        }
    }

    fn mentions(&self, of: &Type, param: usize) -> bool {
        match of {
            Type::Param(other) => *other == param || self.bound.get(other).is_some_and(|of| self.mentions(of, param)),
            Type::List(of) | Type::Optional(of) | Type::Type(of) => self.mentions(of, param),
            Type::Map(key, value) => self.mentions(key, param) || self.mentions(value, param),
            _ => false,
        }
    }

    /// The type with its outermost parameter replaced.
    pub fn resolve(&self, of: &Type) -> Type {
        let mut of = of;
        while let Type::Param(param) = of {
            match self.bound.get(param) {
                Some(known) => of = known,
                None => break,
            }
        }
        of.clone()
    }

    /// The type with everything known replaced, and parameters left where nothing is.
    pub fn settle_known(&self, of: &Type) -> Type {
        self.replace(of, false)
    }

    /// The type with everything replaced: what is not known is anything.
    pub fn settle(&self, of: &Type) -> Type {
        self.replace(of, true)
    }

    /// For messages.
    pub fn show(&self, of: &Type) -> Type {
        self.replace(of, true)
    }

    fn replace(&self, of: &Type, to_dyn: bool) -> Type {
        match self.resolve(of) {
            Type::Param(_) if to_dyn => Type::Dyn,
            Type::List(of) => Type::list(self.replace(&of, to_dyn)),
            Type::Optional(of) => Type::optional(self.replace(&of, to_dyn)),
            Type::Type(of) => Type::Type(self.replace(&of, to_dyn).into()),
            Type::Map(key, value) => Type::map(self.replace(&key, to_dyn), self.replace(&value, to_dyn)),
            other => other,
        }
    }

    /// Whether a value of `given` can stand where `wanted` is asked for; learns what parameters stand for.
    pub fn assignable(&mut self, wanted: &Type, given: &Type) -> bool {
        let mark = self.mark();
        if self.fits(wanted, given) {
            return true;
        }
        self.reset(mark);
        false
    }

    fn fits(&mut self, wanted: &Type, given: &Type) -> bool {
        let (wanted, given) = (self.resolve(wanted), self.resolve(given));
        match (&wanted, &given) {
            (Type::Param(a), Type::Param(b)) if a == b => true,
            (Type::Param(param), other) | (other, Type::Param(param)) => {
                self.bind(*param, other.clone());
                true
            }
            (a, b) if a.is_dyn() || b.is_dyn() => true,
            (Type::Null, other) | (other, Type::Null) => matches!(
                other,
                Type::Null
                    | Type::Object(_)
                    | Type::Named(_)
                    | Type::Opaque(_)
                    | Type::Optional(_)
                    | Type::Duration
                    | Type::Timestamp
            ),
            (Type::List(a), Type::List(b)) | (Type::Optional(a), Type::Optional(b)) => {
                let (a, b) = (a.clone(), b.clone());
                self.fits(&a, &b)
            }
            (Type::Type(_), Type::Type(_)) => true,
            (Type::Map(key, value), Type::Map(other_key, other_value)) => {
                let (key, value) = (key.clone(), value.clone());
                let (other_key, other_value) = (other_key.clone(), other_value.clone());
                self.fits(&key, &other_key) && self.fits(&value, &other_value)
            }
            (a, b) => a == b,
        }
    }

    /// Of two types that fit each other, the one that says less.
    pub fn more_general(&self, a: Type, b: Type) -> Type {
        let resolved = self.resolve(&b);
        match self.resolve(&a) {
            Type::Null if !matches!(resolved, Type::Param(_)) => b,
            Type::Dyn | Type::Error => a,
            Type::Param(_) => b,
            _ if resolved.is_dyn() => b,
            Type::List(inner) => match resolved {
                Type::List(other) => Type::list(self.more_general((*inner).clone(), (*other).clone())),
                _ => a,
            },
            Type::Map(key, value) => match resolved {
                Type::Map(other_key, other_value) => Type::map(
                    self.more_general((*key).clone(), (*other_key).clone()),
                    self.more_general((*value).clone(), (*other_value).clone()),
                ),
                _ => a,
            },
            _ => a,
        }
    }
}

//! What claims mean: rules that must hold, and where the parts of the user come from.

use std::collections::BTreeMap;

use coracle_cel::{Declaration, Environment, Program, Type, Value as CelValue, limits, schema::object_of};
use serde_json::{Value, json};

use crate::{
    authn::{
        User,
        config::{Issuer, Mapping},
    },
    review::user_info,
};

/// Compiled rules and mappings.
pub struct Meaning {
    rules: Vec<Rule>,
    username: Source,
    groups: Source,
    uid: Source,
    extra: Vec<(String, Expression)>,
    user_rules: Vec<(Expression, String)>,
}

enum Rule {
    Claim { claim: String, value: String },
    Expression(Expression, String),
}

enum Source {
    Nothing,
    Claim { claim: String, prefix: String },
    Expression(Expression),
}

struct Expression {
    text: String,
    program: Program,
}

impl Meaning {
    /// Compiles what is said of an issuer's claims.
    pub fn new(issuer: &Issuer) -> Result<Self, String> {
        let claims = Environment::new().with("claims", Declaration::of(Type::map(Type::String, Type::Dyn)));
        let users = Environment::new().with("user", user_type());
        let mut rules = Vec::new();
        for rule in &issuer.claim_validation_rules {
            rules.push(match (rule.claim.as_str(), rule.expression.as_str()) {
                ("", "") => return Err("a claim validation rule needs a claim or an expression".into()),
                ("", text) => Rule::Expression(compile(&claims, text, &[Type::Bool])?, rule.message.clone()),
                (claim, "") => Rule::Claim { claim: claim.to_owned(), value: rule.required_value.clone() },
                _ => return Err("a claim validation rule has a claim or an expression, not both".into()),
            });
        }
        let mappings = &issuer.claim_mappings;
        let username = source("username", &claims, &mappings.username, true)?;
        if matches!(username, Source::Nothing) {
            return Err("claimMappings.username: claim or expression is required".into());
        }
        let mut extra = Vec::new();
        for one in &mappings.extra {
            if one.key != one.key.to_lowercase() || !one.key.contains('/') {
                return Err(format!(
                    "claimMappings.extra: key {:?} must be a lower-case domain-prefixed path",
                    one.key
                ));
            }
            extra.push((one.key.clone(), compile(&claims, &one.value_expression, &text_types())?));
        }
        let mut user_rules = Vec::new();
        for rule in &issuer.user_validation_rules {
            user_rules.push((compile(&users, &rule.expression, &[Type::Bool])?, rule.message.clone()));
        }
        let groups = source("groups", &claims, &mappings.groups, true)?;
        let uid = source("uid", &claims, &mappings.uid, false)?;
        Ok(Self { rules, username, groups, uid, extra, user_rules })
    }

    /// The user that claims stand for, or what is wrong with the claims.
    pub fn user(&self, claims: Value) -> Result<User, String> {
        for rule in &self.rules {
            match rule {
                Rule::Claim { claim, value } => match claims[claim].as_str() {
                    None => return Err(format!("required claim {claim} not present in ID token")),
                    Some(said) if said != value => {
                        return Err(format!(
                            "required claim {claim} value does not match. Got = {said}, want = {value}"
                        ));
                    }
                    Some(_) => {}
                },
                Rule::Expression(expression, message) => must_hold(expression, &claims, message)?,
            }
        }
        let name = self.username.texts(&claims, "username")?;
        let name = name.into_iter().next().filter(|name| !name.is_empty()).ok_or("username claim is empty")?;
        if let (Source::Claim { claim, .. }, Some(verified)) = (&self.username, claims.get("email_verified"))
            && claim == "email"
            && *verified != json!(true)
        {
            return Err("email not verified".into());
        }
        let mut user = User::new(name, self.groups.texts(&claims, "groups")?);
        user.uid = self.uid.texts(&claims, "uid")?.into_iter().next().unwrap_or_default();
        let mut extra: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (key, expression) in &self.extra {
            let values = texts(&expression.evaluate(&claims)?, "extra")?;
            let values: Vec<String> = values.into_iter().filter(|value| !value.is_empty()).collect();
            if !values.is_empty() {
                extra.insert(key.clone(), values);
            }
        }
        user.extra = extra;
        let shown = user_info(&user);
        for (expression, message) in &self.user_rules {
            must_hold(expression, &shown, message)?;
        }
        Ok(user)
    }
}

impl Source {
    fn texts(&self, claims: &Value, what: &str) -> Result<Vec<String>, String> {
        match self {
            Self::Nothing => Ok(Vec::new()),
            Self::Expression(expression) => texts(&expression.evaluate(claims)?, what),
            Self::Claim { claim, prefix } => {
                let Some(value) = claims.get(claim) else {
                    return if what == "groups" {
                        Ok(Vec::new())
                    } else {
                        Err(format!("parse {what} claims {claim:?}: claim not present"))
                    };
                };
                let found = texts(value, what)?;
                Ok(found.into_iter().map(|text| format!("{prefix}{text}")).collect())
            }
        }
    }
}

impl Expression {
    fn evaluate(&self, subject: &Value) -> Result<Value, String> {
        let variables: [CelValue<'_>; 1] = [CelValue::json(subject, None)];
        let outcome = self.program.evaluate(&variables, limits::PER_CALL).outcome;
        let value = outcome.and_then(|value| value.to_json());
        value.map_err(|error| format!("expression '{}' resulted in error: {error}", self.text))
    }
}

fn must_hold(expression: &Expression, subject: &Value, message: &str) -> Result<(), String> {
    if expression.evaluate(subject)? == json!(true) {
        return Ok(());
    }
    Err(match message {
        "" => format!("validation expression '{}' failed", expression.text),
        message => format!("validation expression '{}' failed: {message}", expression.text),
    })
}

/// One text or several.
fn texts(value: &Value, what: &str) -> Result<Vec<String>, String> {
    let wrong = || format!("{what} must be a string or a list of strings, got {value}");
    match value {
        Value::Null => Ok(Vec::new()),
        Value::String(text) => Ok(vec![text.clone()]),
        Value::Array(all) => all.iter().map(|one| one.as_str().map(str::to_owned).ok_or_else(wrong)).collect(),
        _ => Err(wrong()),
    }
}

fn source(what: &str, claims: &Environment, mapping: &Mapping, takes_prefix: bool) -> Result<Source, String> {
    match (mapping.claim.as_str(), mapping.expression.as_str()) {
        ("", "") => Ok(Source::Nothing),
        ("", text) => {
            let wanted = if what == "groups" { text_types() } else { vec![Type::String, Type::Dyn] };
            Ok(Source::Expression(compile(claims, text, &wanted)?))
        }
        (claim, "") => match &mapping.prefix {
            None if takes_prefix => Err(format!(
                "claimMappings.{what}: prefix is required when claim is set. It can be set to an empty string to disable prefixing"
            )),
            prefix => Ok(Source::Claim { claim: claim.to_owned(), prefix: prefix.clone().unwrap_or_default() }),
        },
        _ => Err(format!("claimMappings.{what}: claim and expression can't both be set")),
    }
}

/// What may be one text or several.
fn text_types() -> Vec<Type> {
    vec![Type::String, Type::list(Type::String), Type::list(Type::Dyn), Type::Dyn]
}

fn compile(environment: &Environment, text: &str, wanted: &[Type]) -> Result<Expression, String> {
    let program = environment.compile(text).map_err(|error| format!("expression {text:?}: {error}"))?;
    let found = program.result_type();
    if !wanted.contains(found) {
        return Err(format!("expression {text:?} must evaluate to {} but got {found}", wanted[0]));
    }
    Ok(Expression { text: text.to_owned(), program })
}

fn user_type() -> Declaration {
    let texts = Type::list(Type::String);
    object_of(
        "kubernetes.UserInfo",
        [
            ("username", Declaration::of(Type::String)),
            ("uid", Declaration::of(Type::String)),
            ("groups", Declaration::of(texts.clone())),
            ("extra", Declaration::of(Type::map(Type::String, texts))),
        ],
        2,
    )
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;
    use crate::authn::config::Authentication;

    const FILE: &str = "
apiVersion: apiserver.config.k8s.io/v1
kind: AuthenticationConfiguration
jwt:
- issuer: {url: https://issuer, audiences: [me]}
  claimValidationRules:
  - {claim: hd, requiredValue: example.com}
  - {expression: 'claims.exp - claims.iat < 100', message: too long}
  claimMappings:
    username: {expression: '\"dex:\" + claims.name'}
    groups: {expression: 'claims.roles.split(\",\")'}
    uid: {claim: sub}
    extra: [{key: example.com/tenant, valueExpression: claims.tenant}]
  userValidationRules:
  - {expression: \"!user.username.startsWith('dex:system')\", message: reserved}
";

    fn check(claims: Value, expected: Expect) {
        let issuer = Authentication::from_yaml(FILE).unwrap().issuers.remove(0);
        let meaning = Meaning::new(&issuer).unwrap();
        let said = match meaning.user(claims) {
            Ok(user) => format!("{} {} {} {:?}", user.name, user.uid, user.groups.join(","), user.extra),
            Err(problem) => problem,
        };
        expected.assert_eq(&said);
    }

    #[test]
    fn expressions_make_the_user() {
        let good =
            json!({"hd": "example.com", "exp": 50, "iat": 0, "name": "ann", "roles": "a,b", "sub": "7", "tenant": "t"});
        let with = |key: &str, value: Value| {
            let mut claims = good.clone();
            claims[key] = value;
            claims
        };
        check(good.clone(), expect![[r#"dex:ann 7 a,b,system:authenticated {"example.com/tenant": ["t"]}"#]]);
        check(
            with("hd", json!("other")),
            expect!["required claim hd value does not match. Got = other, want = example.com"],
        );
        check(
            with("exp", json!(500)),
            expect!["validation expression 'claims.exp - claims.iat < 100' failed: too long"],
        );
        check(
            with("name", json!("system:admin")),
            expect!["validation expression '!user.username.startsWith('dex:system')' failed: reserved"],
        );
        check(
            with("roles", json!(3)),
            expect!["expression 'claims.roles.split(\",\")' resulted in error: no such overload"],
        );
    }
}

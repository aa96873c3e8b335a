//! Policies and bindings, read from their objects and compiled.

use coracle_cel::{Environment, Program, Type};
use serde_json::Value;

use super::{
    conditions::Conditions,
    matching::Matching,
    params::ParamKind,
    scope::{Extras, ObjectTypes, environment},
};

/// What both kinds of policies have.
pub struct Policy {
    /// Its name.
    pub name: String,
    /// Which requests it is about; without, none.
    pub matching: Option<Matching>,
    /// The kind of its parameters.
    pub param_kind: Option<ParamKind>,
    /// Whether a request goes on when the policy cannot be evaluated.
    pub ignores_failure: bool,
    /// Conditions that must hold.
    pub conditions: Conditions,
    /// Its variables, in their order.
    pub variables: Vec<(String, Program)>,
    /// What keeps it from being evaluated.
    pub problem: Option<String>,
    /// What it does.
    pub body: Body,
    /// Where it is in force.
    pub bindings: Vec<Binding>,
}

/// What a policy does.
pub enum Body {
    /// Refuses.
    Validate {
        /// What must hold.
        validations: Vec<Validation>,
        /// What is noted for auditors.
        audit: Vec<AuditAnnotation>,
    },
    /// Changes.
    Mutate {
        /// One after the other.
        mutations: Vec<Mutation>,
        /// Whether it wants to see again what others changed after it.
        again: bool,
    },
}

/// One thing that must hold.
pub struct Validation {
    /// What.
    pub program: Program,
    /// As it is written.
    pub text: String,
    /// What is said when it does not hold.
    pub message: String,
    /// The same, worked out.
    pub message_program: Option<Program>,
    /// The reason in the Status.
    pub reason: String,
}

/// One note for auditors.
pub struct AuditAnnotation {
    /// What it is noted under.
    pub key: String,
    /// A text, or null for none.
    pub program: Program,
    /// As it is written.
    pub text: String,
}

/// One change.
pub struct Mutation {
    /// An object to be applied, or a list of patches.
    pub program: Program,
    /// As it is written.
    pub text: String,
    /// Whether it is a list of patches.
    pub is_patch: bool,
}

/// Where a policy is in force.
pub struct Binding {
    /// Its name.
    pub name: String,
    /// Which of the policy's requests; without, all.
    pub matching: Option<Matching>,
    /// `paramRef`, or null.
    pub param_ref: Value,
    /// `Deny`, `Warn`, `Audit`.
    pub actions: Vec<String>,
}

/// What a patch mutation makes.
pub fn patch_list() -> Type {
    Type::list(Type::Named("JSONPatch".into()))
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

/// Compiles an expression that must come out as one of some types; the error is upstream's.
pub fn compile(environment: &Environment, text: &str, wanted: &[Type]) -> Result<Program, String> {
    let program = environment.compile(text).map_err(|error| format!("compilation failed: {error}"))?;
    let found = program.result_type();
    if wanted.is_empty() || wanted.contains(found) || found.is_dyn() && wanted.contains(&Type::Dyn) {
        return Ok(program);
    }
    let shown: Vec<String> = wanted.iter().map(ToString::to_string).collect();
    Err(match &shown[..] {
        [one] => format!("must evaluate to {one} but got {found}"),
        many => format!("must evaluate to one of [{}] but got {found}", many.join(" ")),
    })
}

/// The variables of a policy, and an environment that has them.
pub fn variables(
    spec: &Value,
    extras: Extras,
    types: &ObjectTypes,
) -> (Environment, Vec<(String, Program)>, Option<String>) {
    let mut environment = environment(extras, types);
    let mut programs = Vec::new();
    for variable in list(&spec["variables"]) {
        let name = text(&variable["name"]);
        match compile(&environment, &text(&variable["expression"]), &[]) {
            Ok(program) => {
                let of = coracle_cel::Declaration::of(program.result_type().clone());
                environment.declare(&format!("variables.{name}"), of);
                programs.push((name, program));
            }
            Err(problem) => return (environment, programs, Some(problem)),
        }
    }
    (environment, programs, None)
}

impl Policy {
    /// Reads and compiles a policy's object. `mutates` tells its kind.
    pub fn parse(object: &Value, mutates: bool) -> Self {
        let spec = &object["spec"];
        let param_kind = ParamKind::parse(&spec["paramKind"]);
        let extras = Extras { params: param_kind.is_some(), authorizer: true, mutations: mutates };
        let types = ObjectTypes::default();
        let (environment, variables, mut problem) = variables(spec, extras, &types);
        let mut body = match mutates {
            false => Body::Validate { validations: Vec::new(), audit: Vec::new() },
            true => Body::Mutate { mutations: Vec::new(), again: spec["reinvocationPolicy"] == "IfNeeded" },
        };
        if problem.is_none() {
            problem = body.fill(spec, &environment, extras, &types).err();
        }
        let conditions = Conditions::parse(&spec["matchConditions"], extras.params);
        problem = problem.or_else(|| conditions.as_ref().err().cloned());
        let matching = spec.get("matchConstraints").filter(|matching| matching.is_object()).map(Matching::parse);
        Self {
            name: text(&object["metadata"]["name"]),
            matching: matching.and_then(Result::ok),
            param_kind,
            ignores_failure: spec["failurePolicy"] == "Ignore",
            conditions: conditions.unwrap_or_default(),
            variables,
            problem,
            body,
            bindings: Vec::new(),
        }
    }
}

impl Body {
    fn fill(
        &mut self,
        spec: &Value,
        environment: &Environment,
        extras: Extras,
        types: &ObjectTypes,
    ) -> Result<(), String> {
        match self {
            Self::Validate { validations, audit } => {
                // Messages may not ask the authorizer.
                let (for_messages, _, _) = variables(spec, Extras { authorizer: false, ..extras }, types);
                for validation in list(&spec["validations"]) {
                    let expression = text(&validation["expression"]);
                    let message = text(&validation["messageExpression"]);
                    let message = Some(message).filter(|text| !text.is_empty());
                    validations.push(Validation {
                        program: compile(environment, &expression, &[Type::Bool])?,
                        text: expression,
                        message: text(&validation["message"]),
                        message_program: message.and_then(|text| for_messages.compile(&text).ok()),
                        reason: text(&validation["reason"]),
                    });
                }
                for annotation in list(&spec["auditAnnotations"]) {
                    let expression = text(&annotation["valueExpression"]);
                    let wanted = [Type::String, Type::Null, Type::Dyn];
                    audit.push(AuditAnnotation {
                        key: text(&annotation["key"]),
                        program: compile(environment, &expression, &wanted)?,
                        text: expression,
                    });
                }
            }
            Self::Mutate { mutations, .. } => {
                for mutation in list(&spec["mutations"]) {
                    let is_patch = mutation["patchType"] == "JSONPatch";
                    let of = if is_patch { "jsonPatch" } else { "applyConfiguration" };
                    let expression = text(&mutation[of]["expression"]);
                    let wanted = match is_patch {
                        true => patch_list(),
                        false => Type::Named("Object".into()),
                    };
                    mutations.push(Mutation {
                        program: compile(environment, &expression, &[wanted])?,
                        text: expression,
                        is_patch,
                    });
                }
            }
        }
        Ok(())
    }
}

impl Binding {
    /// Reads a binding's object; with the name of its policy.
    pub fn parse(object: &Value) -> (String, Self) {
        let spec = &object["spec"];
        let matching = spec.get("matchResources").filter(|matching| matching.is_object()).map(Matching::parse);
        let binding = Self {
            name: text(&object["metadata"]["name"]),
            matching: matching.and_then(Result::ok),
            param_ref: spec.get("paramRef").cloned().unwrap_or_default(),
            actions: list(&spec["validationActions"]).map(text).collect(),
        };
        (text(&spec["policyName"]), binding)
    }
}

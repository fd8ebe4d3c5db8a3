//! Definitions of custom resources: names, versions, and that their schemas are structural.
//!
//! <https://github.com/kubernetes/apiextensions-apiserver/blob/v0.33.0/pkg/apis/apiextensions/validation/validation.go>

mod schema;

use serde_json::{Value, json};

use super::{
    super::structural,
    errors::{Errors, list, text},
    names,
};

/// A definition.
pub(super) fn check(object: &Value, new: bool, errors: &mut Errors) {
    let spec = &object["spec"];
    let group = text(spec, "group");
    let wanted = format!("{}.{group}", text(&spec["names"], "plural"));
    if new && text(&object["metadata"], "name") != wanted {
        let why = "must be spec.names.plural+\".\"+spec.group";
        errors.invalid("metadata.name", &object["metadata"]["name"], why);
    }
    if group.is_empty() {
        errors.required("spec.group", "");
    } else {
        errors.texts("spec.group", group, names::subdomain(group));
        if !group.contains('.') {
            errors.invalid("spec.group", &json!(group), "should be a domain with at least one dot");
        }
    }
    if !matches!(text(spec, "scope"), "Cluster" | "Namespaced") {
        if text(spec, "scope").is_empty() {
            errors.required("spec.scope", "");
        } else {
            errors.unsupported("spec.scope", &spec["scope"], &["Cluster", "Namespaced"]);
        }
    }
    unknown_fields(spec, errors);
    versions(spec, errors);
    stored_versions(object, errors);
    approval(object, group, errors);
}

/// Groups of the project itself want an approval.
fn approval(object: &Value, group: &str, errors: &mut Errors) {
    let protected = |suffix: &str| group == suffix || group.ends_with(&format!(".{suffix}"));
    if !protected("k8s.io") && !protected("kubernetes.io") {
        return;
    }
    let annotation = "api-approved.kubernetes.io";
    let field = format!("metadata.annotations[{annotation}]");
    let given = object["metadata"]["annotations"][annotation].as_str().unwrap_or_default();
    if given.is_empty() {
        let why = "protected groups must have approval annotation \"api-approved.kubernetes.io\", see https://github.com/kubernetes/enhancements/pull/1111";
        errors.required(&field, why);
    } else if !given.starts_with("unapproved") && !given.starts_with("https://") {
        errors.invalid(&field, &json!(given), "protected groups must have approval annotation with a URL");
    }
}

fn has_defaults(schema: &Value) -> bool {
    let members = schema["properties"].as_object().into_iter().flat_map(|members| members.values());
    schema.get("default").is_some()
        || members.into_iter().any(has_defaults)
        || ["items", "additionalProperties"].iter().any(|key| schema[*key].is_object() && has_defaults(&schema[*key]))
}

fn unknown_fields(spec: &Value, errors: &mut Errors) {
    if spec["preserveUnknownFields"] != true {
        return;
    }
    let field = "spec.preserveUnknownFields";
    let schemas = list(spec, "versions").iter().map(|version| &version["schema"]["openAPIV3Schema"]);
    if schemas.into_iter().any(has_defaults) {
        errors.invalid(field, &json!(true), "must be false in order to use defaults in the schema");
    }
    errors.invalid(
        field,
        &json!(true),
        "cannot set to true, set x-kubernetes-preserve-unknown-fields to true in spec.versions[*].schema instead",
    );
}

fn versions(spec: &Value, errors: &mut Errors) {
    let all = list(spec, "versions");
    for (index, version) in all.iter().enumerate() {
        if !version["schema"]["openAPIV3Schema"].is_object() {
            errors.required(&format!("spec.versions[{index}].schema.openAPIV3Schema"), "schemas are required");
        }
    }
    // What is the same in all is moved to the top, and there the errors are.
    let alike = |part: &str| all.iter().all(|version| version[part] == all[0][part]);
    for (index, version) in all.iter().enumerate() {
        let at = format!("spec.versions[{index}]");
        let name = text(version, "name");
        errors.texts(&format!("{at}.name"), name, names::label_1035(name));
        deprecation(version, &at, errors);
        parts(version, &at, ".schema", &|part| !alike(part), errors);
    }
    let mut known: Vec<&str> = all.iter().map(|version| text(version, "name")).collect();
    known.sort_unstable();
    if known.windows(2).any(|pair| pair[0] == pair[1]) {
        errors.invalid("spec.versions", &spec["versions"], "must contain unique version names");
    }
    let stored = all.iter().filter(|version| version["storage"] == true).count();
    if stored != 1 {
        errors.invalid("spec.versions", &spec["versions"], "must have exactly one version marked as storage version");
    }
    if let Some(first) = all.first() {
        let name = text(first, "name");
        errors.texts("spec.version", name, names::label_1035(name));
    }
    own_names(&spec["names"], errors);
    if let Some(first) = all.first() {
        parts(first, "spec", ".validation", &alike, errors);
    }
    conversion(&spec["conversion"], errors);
}

/// What a version says besides its name, of which some stands elsewhere.
fn parts(version: &Value, at: &str, validation: &str, here: &dyn Fn(&str) -> bool, errors: &mut Errors) {
    let of_version = &version["schema"]["openAPIV3Schema"];
    if here("schema") && of_version.is_object() {
        schema::check(of_version, &format!("{at}{validation}.openAPIV3Schema"), errors);
    }
    if here("subresources") {
        subresources(&version["subresources"], at, errors);
    }
    if here("additionalPrinterColumns") {
        columns(list(version, "additionalPrinterColumns"), at, errors);
    }
    if here("selectableFields") {
        selectable(version, at, errors);
    }
}

fn deprecation(version: &Value, at: &str, errors: &mut Errors) {
    let Some(warning) = version["deprecationWarning"].as_str() else { return };
    let field = format!("{at}.deprecationWarning");
    if version["deprecated"] != true {
        errors.invalid(&field, &json!(warning), "can only be set for deprecated versions");
    }
    if warning.len() > 256 {
        errors.invalid(&field, &json!(warning), "must be <= 256 characters long");
    }
    if warning.is_empty() {
        errors.invalid(&field, &json!(warning), "must not be an empty string");
    }
    for (index, _) in warning.char_indices().filter(|(_, c)| c.is_control()) {
        let why =
            format!("must only contain printable UTF-8 characters; non-printable character found at index {index}");
        errors.invalid(&field, &json!(warning), &why);
    }
}

fn conversion(conversion: &Value, errors: &mut Errors) {
    let strategy = text(conversion, "strategy");
    match strategy {
        "None" | "Webhook" => {}
        "" => errors.required("spec.conversion.strategy", ""),
        other => errors.unsupported("spec.conversion.strategy", &json!(other), &["None", "Webhook"]),
    }
    let webhook = &conversion["webhook"];
    let (client, reviews) = (&webhook["clientConfig"], list(webhook, "conversionReviewVersions"));
    let (at, of_reviews) = ("spec.conversion.webhookClientConfig", "spec.conversion.conversionReviewVersions");
    if strategy != "Webhook" {
        let why = "should not be set when strategy is not set to Webhook";
        if client.is_object() {
            errors.forbidden(at, why);
        }
        if !reviews.is_empty() {
            errors.forbidden(of_reviews, why);
        }
        return;
    }
    if !client.is_object() {
        errors.required(at, "required when strategy is set to Webhook");
    } else if client["url"].is_null() == client["service"].is_null() {
        errors.required(at, "exactly one of url or service is required");
    }
    if reviews.is_empty() {
        errors.required(of_reviews, "");
    }
}

/// Fields that objects may be selected by.
fn selectable(version: &Value, at: &str, errors: &mut Errors) {
    let mut known = Vec::new();
    for (index, field) in list(version, "selectableFields").iter().enumerate() {
        let at = format!("{at}.selectableFields[{index}].jsonPath");
        let path = text(field, "jsonPath");
        if path.is_empty() {
            errors.required(&at, "");
            continue;
        }
        let mut parts = path.split('.');
        let leads = parts.next() == Some("");
        let schema = &version["schema"]["openAPIV3Schema"];
        let found = parts.try_fold(schema, |schema, part| {
            let any = schema.get("additionalProperties").filter(|any| any.is_object());
            schema["properties"].get(part).or(any)
        });
        let Some(found) = found.filter(|_| leads) else {
            errors.invalid(&at, &json!(path), "is an invalid path: does not refer to a valid field");
            continue;
        };
        if !matches!(text(found, "type"), "string" | "boolean" | "integer") {
            let why = "must point to a field of type string, boolean or integer. Enum string fields and strings with formats are allowed.";
            errors.invalid(&at, &json!(path), why);
        }
        if known.contains(&path) {
            errors.duplicate(&at, &json!(path));
        }
        known.push(path);
    }
}

fn subresources(subresources: &Value, at: &str, errors: &mut Errors) {
    let scale = &subresources["scale"];
    if !scale.is_object() {
        return;
    }
    for (key, under, required) in [
        ("specReplicasPath", ".spec", true),
        ("statusReplicasPath", ".status", true),
        ("labelSelectorPath", ".status", false),
    ] {
        let (path, field) = (text(scale, key), format!("{at}.subresources.scale.{key}"));
        if path.is_empty() {
            if required {
                errors.required(&field, "");
            }
        } else if !path.starts_with('.') {
            errors.invalid(&field, &json!(path), "must be a simple json path starting with .");
        } else {
            let elsewhere = key == "labelSelectorPath" && path.starts_with(".spec.");
            if !elsewhere && !path.starts_with(&format!("{under}.")) {
                errors.invalid(&field, &json!(path), &format!("should be a json path under {under}"));
            }
        }
    }
}

fn columns(columns: &[Value], at: &str, errors: &mut Errors) {
    for (index, column) in columns.iter().enumerate() {
        let at = format!("{at}.additionalPrinterColumns[{index}]");
        if text(column, "name").is_empty() {
            errors.required(&format!("{at}.name"), "");
        }
        let kind = text(column, "type");
        if kind.is_empty() {
            let why = "must be one of boolean,date,integer,number,string";
            errors.required(&format!("{at}.type"), why);
        } else if !matches!(kind, "boolean" | "date" | "integer" | "number" | "string") {
            errors.invalid(&format!("{at}.type"), &json!(kind), "must be one of boolean,date,integer,number,string");
        }
        let format = text(column, "format");
        let known = ["byte", "date", "date-time", "double", "float", "int32", "int64", "password"];
        if !format.is_empty() && !known.contains(&format) {
            errors.invalid(&format!("{at}.format"), &json!(format), &format!("must be one of {}", known.join(",")));
        }
        match text(column, "jsonPath") {
            "" => errors.required(&format!("{at}.JSONPath"), ""),
            path if !path.starts_with('.') => {
                errors.invalid(&format!("{at}.JSONPath"), &json!(path), "must be a simple json path starting with .");
            }
            _ => {}
        }
    }
}

fn own_names(names_of: &Value, errors: &mut Errors) {
    for key in ["plural", "singular", "kind", "listKind"] {
        if text(names_of, key).is_empty() {
            errors.required(&format!("spec.names.{key}"), "");
        }
    }
    for (key, lower) in [("plural", false), ("singular", false), ("kind", true), ("listKind", true)] {
        let name = text(names_of, key);
        let field = format!("spec.names.{key}");
        if name.is_empty() {
            continue;
        }
        let checked = if lower { name.to_lowercase() } else { name.to_owned() };
        let wrong = names::label_1035(&checked);
        if lower && !wrong.is_empty() {
            let why = format!("may have mixed case, but should otherwise match: {}", wrong.join(","));
            errors.invalid(&field, &json!(name), &why);
        } else {
            errors.texts(&field, name, wrong);
        }
    }
    for key in ["shortNames", "categories"] {
        for (index, name) in list(names_of, key).iter().filter_map(Value::as_str).enumerate() {
            errors.texts(&format!("spec.names.{key}[{index}]"), name, names::label_1035(name));
        }
    }
    let kind = text(names_of, "kind");
    if !kind.is_empty() && kind == text(names_of, "listKind") {
        errors.invalid("spec.names.listKind", &json!(kind), "kind and listKind may not be the same");
    }
}

fn stored_versions(object: &Value, errors: &mut Errors) {
    let stored = list(&object["status"], "storedVersions");
    let versions = list(&object["spec"], "versions");
    let field = "status.storedVersions";
    if stored.is_empty() {
        errors.invalid(field, &json!([]), "must have at least one stored version");
        return;
    }
    for version in versions.iter().filter(|version| version["storage"] == true && !stored.contains(&version["name"])) {
        let why = format!("must have the storage version {}", text(version, "name"));
        errors.invalid(field, &json!(stored), &why);
    }
    for (index, name) in stored.iter().enumerate() {
        if !versions.iter().any(|version| version["name"] == *name) {
            let shown = name.as_str().unwrap_or_default();
            let why = format!(
                "missing from spec.versions; {shown} was previously a storage version, and must remain in spec.versions until a storage migration ensures no data remains persisted in {shown} and removes {shown} from status.storedVersions"
            );
            errors.invalid(&format!("{field}[{index}]"), name, &why);
        }
    }
}

fn rules(schema: &Value, path: &str, errors: &mut Errors) {
    for (index, rule) in structural::rules_of(schema).enumerate() {
        let at = format!("{path}.x-kubernetes-validations[{index}]");
        let own = text(rule, "rule");
        if own.trim().is_empty() {
            errors.required(&format!("{at}.rule"), "rule is not specified");
        } else if let Err(why) = structural::compiles(schema, own) {
            errors.invalid(&format!("{at}.rule"), rule, &format!("compilation failed: {why}"));
        }
        let message = text(rule, "message");
        if rule.get("message").is_some() && message.trim().is_empty() {
            errors.invalid(&format!("{at}.message"), &rule["message"], "message must be non-empty if specified");
        } else if message.contains('\n') {
            errors.invalid(&format!("{at}.message"), &rule["message"], "message must not contain line breaks");
        }
        let expression = text(rule, "messageExpression");
        if !expression.is_empty()
            && let Err(why) = structural::compiles(schema, expression)
        {
            let why = format!("messageExpression compilation failed: {why}");
            errors.invalid(&format!("{at}.messageExpression"), &rule["messageExpression"], &why);
        }
        let reasons = ["FieldValueRequired", "FieldValueForbidden", "FieldValueInvalid", "FieldValueDuplicate"];
        errors.one_of(rule, "reason", &at, &reasons);
    }
}

//! Definitions of custom resources: names, versions, and that their schemas are structural.
//!
//! <https://github.com/kubernetes/apiextensions-apiserver/blob/v0.33.0/pkg/apis/apiextensions/validation/validation.go>

use serde_json::{Value, json};

use super::{
    super::structural,
    errors::{Errors, list, text},
    names,
};

/// A definition.
pub(super) fn check(object: &Value, errors: &mut Errors) {
    let spec = &object["spec"];
    let group = text(spec, "group");
    let wanted = format!("{}.{group}", text(&spec["names"], "plural"));
    if text(&object["metadata"], "name") != wanted {
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
    own_names(&spec["names"], errors);
    stored_versions(object, errors);
    conversion(&spec["conversion"], errors);
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
    let mut known: Vec<&str> = Vec::new();
    for (index, version) in all.iter().enumerate() {
        let at = format!("spec.versions[{index}]");
        let name = text(version, "name");
        known.push(name);
        errors.texts(&format!("{at}.name"), name, names::label_1035(name));
        deprecation(version, &at, errors);
    }
    // The first version is the one that the first form of definitions had.
    if let Some(name) = known.first() {
        errors.texts("spec.version", name, names::label_1035(name));
    }
    if (0..known.len()).any(|index| known[..index].contains(&known[index])) {
        errors.invalid("spec.versions", &spec["versions"], "must contain unique version names");
    }
    let stored = all.iter().filter(|version| version["storage"] == true).count();
    if stored != 1 {
        errors.invalid("spec.versions", &spec["versions"], "must have exactly one version marked as storage version");
    }
    // One version alone is moved to the top, and there the errors are.
    let alike = |part: &str| all.iter().all(|version| version[part] == all[0][part]);
    for (index, version) in all.iter().enumerate() {
        let own = format!("spec.versions[{index}]");
        let schema = &version["schema"]["openAPIV3Schema"];
        if !schema.is_object() {
            errors.required(&format!("{own}.schema.openAPIV3Schema"), "schemas are required");
            continue;
        }
        let once = |part: &str| !alike(part) || index == 0;
        if once("schema") {
            let at = if alike("schema") { "spec.validation" } else { own.as_str() };
            let at =
                if alike("schema") { format!("{at}.openAPIV3Schema") } else { format!("{at}.schema.openAPIV3Schema") };
            structure(schema, &at, Level::Root, errors);
        }
        if once("subresources") {
            subresources(&version["subresources"], if alike("subresources") { "spec" } else { &own }, errors);
        }
        if once("additionalPrinterColumns") {
            let at = if alike("additionalPrinterColumns") { "spec" } else { &own };
            columns(list(version, "additionalPrinterColumns"), at, errors);
        }
    }
}

fn deprecation(version: &Value, at: &str, errors: &mut Errors) {
    let Some(warning) = version["deprecationWarning"].as_str() else { return };
    let mut wrong = |why: &str| errors.invalid(&format!("{at}.deprecationWarning"), &json!(warning), why);
    if version["deprecated"] != true {
        wrong("can only be set for deprecated versions");
    }
    if warning.is_empty() || warning.trim() != warning || warning.len() > 256 || warning.chars().any(char::is_control) {
        wrong("must be a line of at most 256 printable characters without spaces around it");
    }
}

/// How versions become each other.
fn conversion(conversion: &Value, errors: &mut Errors) {
    let webhook = &conversion["webhook"];
    match text(conversion, "strategy") {
        "Webhook" => {
            let client = &webhook["clientConfig"];
            if !client.is_object() || (client["url"].is_null() && client["service"].is_null()) {
                errors.required("spec.conversion.webhookClientConfig", "required when strategy is set to Webhook");
            }
            if list(webhook, "conversionReviewVersions").is_empty() {
                errors.required("spec.conversion.conversionReviewVersions", "");
            }
        }
        "" | "None" => {
            if webhook["clientConfig"].is_object() {
                let why = "should not be set when strategy is not set to Webhook";
                errors.forbidden("spec.conversion.webhookClientConfig", why);
            }
            if !list(webhook, "conversionReviewVersions").is_empty() {
                let why = "should not be set when strategy is not set to Webhook";
                errors.forbidden("spec.conversion.conversionReviewVersions", why);
            }
        }
        _ => errors.one_of(conversion, "strategy", "spec.conversion", &["None", "Webhook"]),
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

const FORMATS: [&str; 9] = ["", "int32", "int64", "float", "double", "byte", "date", "date-time", "password"];

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
        if !FORMATS.contains(&format) {
            errors.invalid(
                &format!("{at}.format"),
                &json!(format),
                "must be one of byte,date,date-time,double,float,int32,int64,password",
            );
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
    for (key, lower) in [("plural", false), ("singular", false), ("kind", true), ("listKind", true)] {
        let name = text(names_of, key);
        let field = format!("spec.names.{key}");
        if name.is_empty() {
            errors.required(&field, "");
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
    let storage = list(&object["spec"], "versions").iter().filter(|version| version["storage"] == true);
    let storage: Vec<&Value> = storage.map(|version| &version["name"]).collect();
    let field = "status.storedVersions";
    if stored.is_empty() {
        errors.invalid(field, &json!([]), "must have at least one stored version");
    } else if let [one] = storage.as_slice() {
        if !stored.contains(one) {
            errors.invalid(field, &json!(stored), "must have the storage version");
        }
    } else {
        errors.invalid(field, &json!(stored), "must have the storage version");
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Level {
    Root,
    Field,
    /// Inside of `allOf` and the like, where types are not wanted.
    Junctor,
}

/// That a schema is structural, that its defaults fit, and that its rules compile.
fn structure(schema: &Value, path: &str, level: Level, errors: &mut Errors) {
    let either = schema["x-kubernetes-int-or-string"] == true;
    let open = schema["x-kubernetes-preserve-unknown-fields"] == true;
    let kind = text(schema, "type");
    let reference = !text(schema, "$ref").is_empty();
    if kind.is_empty() && level != Level::Junctor && !either && !open && !reference {
        let what = if level == Level::Root { "at the root" } else { "for specified object fields" };
        errors.required(&format!("{path}.type"), &format!("must not be empty {what}"));
    }
    if level == Level::Root && !matches!(kind, "" | "object") {
        errors.invalid(&format!("{path}.type"), &json!(kind), "must be object at the root");
    }
    if !matches!(kind, "" | "object" | "array" | "string" | "number" | "integer" | "boolean") {
        let known = ["array", "boolean", "integer", "number", "object", "string"];
        errors.unsupported(&format!("{path}.type"), &json!(kind), &known);
    }
    if schema["uniqueItems"] == true {
        errors.forbidden(
            &format!("{path}.uniqueItems"),
            "uniqueItems cannot be set to true since the runtime complexity becomes quadratic",
        );
    }
    if !text(schema, "$ref").is_empty() {
        errors.forbidden(&format!("{path}.$ref"), "$ref is not supported");
    }
    if level == Level::Junctor && !kind.is_empty() {
        errors.forbidden(&format!("{path}.type"), "must be empty to be structural");
    }
    let map = &schema["x-kubernetes-map-type"];
    if map.is_string() && !matches!(text(schema, "x-kubernetes-map-type"), "atomic" | "granular") {
        errors.unsupported(&format!("{path}.x-kubernetes-map-type"), map, &["atomic", "granular"]);
    }
    if schema["x-kubernetes-preserve-unknown-fields"] == false {
        let why = "must be true or undefined";
        errors.invalid(&format!("{path}.x-kubernetes-preserve-unknown-fields"), &json!(false), why);
    }
    let embedded = schema["x-kubernetes-embedded-resource"] == true;
    if embedded && !open && schema["properties"].as_object().is_none_or(serde_json::Map::is_empty) {
        let why =
            "must not be empty if x-kubernetes-embedded-resource is true without x-kubernetes-preserve-unknown-fields";
        errors.required(&format!("{path}.properties"), why);
    }
    if schema["properties"].is_object() && schema["additionalProperties"].is_object() {
        errors.forbidden(
            &format!("{path}.additionalProperties"),
            "additionalProperties and properties are mutual exclusive",
        );
    }
    if let Some(pattern) = schema["pattern"].as_str()
        && let Err(error) = regex::Regex::new(pattern)
    {
        errors.invalid(
            &format!("{path}.pattern"),
            &json!(pattern),
            &format!("must be a valid regular expression: {error}"),
        );
    }
    list_type(schema, path, errors);
    if let Some(default) = schema.get("default") {
        let mut causes = Vec::new();
        structural::check_value(schema, "", default, &mut causes);
        errors.0.extend(causes.into_iter().map(|mut cause| {
            let inner = if cause.field.is_empty() { String::new() } else { format!(".{}", cause.field) };
            cause.field = format!("{path}.default{inner}");
            cause
        }));
    }
    rules(schema, path, errors);
    if kind == "array" && !schema["items"].is_object() && level != Level::Junctor {
        errors.required(&format!("{path}.items"), "must be specified");
    }
    for (name, inner) in schema["properties"].as_object().into_iter().flatten() {
        if level == Level::Root && matches!(name.as_str(), "apiVersion" | "kind" | "metadata") {
            continue;
        }
        let level = if level == Level::Junctor { level } else { Level::Field };
        structure(inner, &format!("{path}.properties[{name}]"), level, errors);
    }
    let level = if level == Level::Junctor { level } else { Level::Field };
    for key in ["items", "additionalProperties"] {
        if schema[key].is_object() {
            structure(&schema[key], &format!("{path}.{key}"), level, errors);
        }
    }
    if schema["not"].is_object() {
        structure(&schema["not"], &format!("{path}.not"), Level::Junctor, errors);
    }
    if !either {
        for key in ["allOf", "anyOf", "oneOf"] {
            for (index, inner) in list(schema, key).iter().enumerate() {
                structure(inner, &format!("{path}.{key}[{index}]"), Level::Junctor, errors);
            }
        }
    }
}

fn list_type(schema: &Value, path: &str, errors: &mut Errors) {
    let field = format!("{path}.x-kubernetes-list-type");
    let keys = list(schema, "x-kubernetes-list-map-keys");
    match schema["x-kubernetes-list-type"].as_str() {
        None | Some("atomic" | "set") => {
            if !keys.is_empty() {
                let why = "must be map if x-kubernetes-list-map-keys is non-empty";
                errors.invalid(&field, &schema["x-kubernetes-list-type"], why);
            }
        }
        Some("map") => {
            let at = format!("{path}.x-kubernetes-list-map-keys");
            if keys.is_empty() {
                errors.required(&at, "must not be empty if x-kubernetes-list-type is map");
            }
            let items = &schema["items"];
            for (index, key) in keys.iter().enumerate() {
                let name = key.as_str().unwrap_or_default();
                if items["properties"].get(name).is_none() {
                    let why = "entries must all be names of item properties";
                    errors.invalid(&format!("{at}[{index}]"), key, why);
                    continue;
                }
                let required = list(items, "required").contains(key);
                if !required && items["properties"][name].get("default").is_none() {
                    let why = "this property is in x-kubernetes-list-map-keys, so it must have a default or be a required property";
                    errors.required(&format!("{path}.items.properties[{name}].default"), why);
                }
            }
        }
        Some(other) => errors.unsupported(&field, &json!(other), &["atomic", "map", "set"]),
    }
    if schema["x-kubernetes-list-type"].is_string() && text(schema, "type") != "array" {
        let why = "must be array if x-kubernetes-list-type is specified";
        errors.invalid(&format!("{path}.type"), &schema["type"], why);
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

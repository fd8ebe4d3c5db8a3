//! Create: names, system fields, admission, and the first version.

use rand::RngExt;
use serde_json::{Value, json};

use super::{Target, WriteOptions, Written, check_namespace, check_type, decode, refused};
use crate::api::{
    Api, admission, convert, managed,
    meta::{metadata_mut, name, now},
    model,
    resource::resources::NODES,
    status::Status,
    store::{CommitError, Expect},
};

/// Letters of generated names: no vowels, nothing that looks like another.
const LETTERS: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
/// Longest base of a generated name, so that the whole fits a label.
const LONGEST_BASE: usize = 58;
/// A generated name that is taken is drawn again this often.
const DRAWS: usize = 8;

/// Creates an object; `target.name` is empty or what the path says.
pub(crate) fn create(api: &Api, target: &Target, body: Value, options: &WriteOptions) -> Result<Written, Status> {
    let definition = &target.definition;
    let resource = &definition.resource;
    let mut object = body;
    check_type(definition, &mut object)?;
    let mut warnings = decode(target, &mut object, options).map_err(|error| error.of_body(definition))?;
    check_namespace(target, &mut object)?;
    if object["metadata"]["resourceVersion"].as_str().is_some_and(|v| !v.is_empty() && v != "0") {
        return Err(Status::plain("resourceVersion should not be set on objects to be created"));
    }
    system_fields(definition, &mut object);
    model::default(definition, &mut object);
    managed::track(definition, None, &mut object, options);
    let drawn = name(&object).is_empty();
    let base = object["metadata"]["generateName"].as_str().unwrap_or_default().to_owned();
    if drawn && base.is_empty() {
        let message = "Required value: name or generateName is required";
        return Err(Status::invalid_field(resource, "", "FieldValueRequired", "metadata.name", message));
    }
    for draw in 1..=DRAWS {
        // A name that was given, or the last one to be drawn, needs no copy to try again with.
        let last = !drawn || draw == DRAWS;
        let mut object = if last { std::mem::take(&mut object) } else { object.clone() };
        if drawn {
            metadata_mut(&mut object).insert("name".into(), json!(generated(&base)));
            // Some defaults follow the name.
            model::default(definition, &mut object);
        }
        let name = name(&object).to_owned();
        admission::create(api, target, &mut object, options)?;
        model::created(definition, &mut object);
        model::normalise(definition, &mut object)?;
        model::validate_create(definition, &object)?;
        warnings.extend(model::warnings(definition, None, &object));
        let target = Target { name: name.clone(), ..target.clone() };
        if options.dry_run {
            if api.store.get(&definition.table, &target.namespace, &name).is_some() {
                return Err(Status::already_exists(resource, &name));
            }
            return Ok(Written { object: object.into(), created: true, warnings });
        }
        let stored = convert::to_stored(definition, object);
        match api.store.put(&definition.table, target.key(), Expect::Absent, stored) {
            Ok(entry) => {
                api.written(definition, Some(&entry));
                return Ok(Written { object: entry.value.clone(), created: true, warnings });
            }
            Err(CommitError::Unexpected) if drawn => {}
            Err(error) => {
                let taken = taken(api, &target, &name);
                return Err(refused(error, taken));
            }
        }
    }
    Err(Status::already_exists(resource, &base))
}

fn taken(api: &Api, target: &Target, name: &str) -> Status {
    let status = Status::already_exists(&target.definition.resource, name);
    match api.read(target) {
        Ok(entry) if crate::api::meta::is_deleting(&entry.value) => {
            Status { message: format!("object is being deleted: {}", status.message), ..status }
        }
        _ => status,
    }
}

/// A name of which only the beginning is given.
pub(crate) fn generated(base: &str) -> String {
    let mut random = rand::rng();
    let mut name: String = base.chars().take(LONGEST_BASE).collect();
    name.extend((0..5).map(|_| char::from(LETTERS[random.random_range(0..LETTERS.len())])));
    name
}

fn system_fields(definition: &crate::api::registry::Definition, object: &mut Value) {
    let metadata = metadata_mut(object);
    for key in ["resourceVersion", "deletionTimestamp", "deletionGracePeriodSeconds", "selfLink"] {
        metadata.shift_remove(key);
    }
    metadata.insert("uid".into(), json!(uuid::Uuid::new_v4().to_string()));
    metadata.insert("creationTimestamp".into(), now());
    if definition.has_generation() {
        metadata.insert("generation".into(), json!(1));
    }
    // A kubelet registers its node with the status that it has.
    if definition.subresource("status").is_some()
        && definition.resource != NODES
        && let Some(members) = object.as_object_mut()
    {
        members.shift_remove("status");
    }
}

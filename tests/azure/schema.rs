//! The module against the azurerm provider's schema, where the provider is not: as data, reduced to what the module uses.

use std::{collections::BTreeMap, fs, path::Path};

use hcl::{Block, Body, Structure};
use serde::{Deserialize, Serialize};

/// What an argument is to a configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Use {
    Required,
    Optional,
    /// Told by the provider, never set.
    Computed,
}

/// A block's arguments and the blocks in it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Shape {
    pub(crate) arguments: BTreeMap<String, Use>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) blocks: BTreeMap<String, Inner>,
}

/// A block in a block, with how often it may be there; `most` 0: any number of times.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Inner {
    pub(crate) least: usize,
    pub(crate) most: usize,
    #[serde(flatten)]
    pub(crate) shape: Shape,
}

/// The file: where it is from, the provider's own block, and its resources.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Schema {
    pub(crate) source: String,
    pub(crate) licence: String,
    pub(crate) provider: Shape,
    pub(crate) resources: BTreeMap<String, Shape>,
}

/// Where it lies.
pub(crate) fn file() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/azure/schema/azurerm.json")
}

fn committed() -> Schema {
    let text = fs::read_to_string(file()).expect("it is committed");
    serde_json::from_str(&text).expect("it is what the_schema_is_the_providers writes")
}

/// The module's files, by name.
pub(crate) fn module() -> BTreeMap<String, Body> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("terraform");
    let files = fs::read_dir(dir).expect("it is there").filter_map(Result::ok).map(|entry| entry.path());
    files
        .filter(|path| path.extension().is_some_and(|extension| extension == "tf"))
        .map(|path| {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let body = hcl::parse(&fs::read_to_string(&path).expect("it is text"));
            (name, body.unwrap_or_else(|error| panic!("{}: {error}", path.display())))
        })
        .collect()
}

/// Types of the module's resources.
pub(crate) fn types_used() -> Vec<String> {
    let all = module();
    let blocks = all.values().flat_map(Body::blocks).filter(|block| block.identifier() == "resource");
    let mut types: Vec<String> = blocks.map(|block| block.labels()[0].as_str().to_owned()).collect();
    types.sort();
    types.dedup();
    types
}

/// Everything that the provider would refuse, in words.
fn problems(body: &Body, schema: &Schema) -> Vec<String> {
    let mut found = Vec::new();
    for block in body.blocks() {
        let labels: Vec<&str> = block.labels().iter().map(hcl::BlockLabel::as_str).collect();
        match (block.identifier(), labels.as_slice()) {
            ("provider", ["azurerm"]) => check("provider azurerm", block.body(), &schema.provider, true, &mut found),
            ("resource" | "data", [kind, name]) => match schema.resources.get(*kind) {
                Some(shape) => check(&format!("{kind}.{name}"), block.body(), shape, true, &mut found),
                None => found.push(format!("{kind}.{name}: the schema has no {kind}")),
            },
            _ => {}
        }
    }
    found
}

/// Terraform's own arguments and blocks of a resource or a provider.
const META: [&str; 9] =
    ["count", "for_each", "depends_on", "provider", "alias", "lifecycle", "provisioner", "connection", "precondition"];

fn check(place: &str, body: &Body, shape: &Shape, outermost: bool, found: &mut Vec<String>) {
    let is_meta = |name: &str| outermost && META.contains(&name);
    let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
    for structure in body {
        match structure {
            Structure::Attribute(attribute) if is_meta(attribute.key()) => {}
            Structure::Attribute(attribute) => {
                *seen.entry(attribute.key()).or_default() += 1;
                match shape.arguments.get(attribute.key()) {
                    None => found.push(format!("{place}: there is no argument {}", attribute.key())),
                    Some(Use::Computed) => found.push(format!("{place}: {} is not to be set", attribute.key())),
                    Some(Use::Required | Use::Optional) => {}
                }
            }
            Structure::Block(block) if is_meta(block.identifier()) => {}
            Structure::Block(block) => {
                let (name, content) = unfolded(block);
                *seen.entry(name).or_default() += 1;
                match shape.blocks.get(name) {
                    Some(inner) => check(&format!("{place}.{name}"), content, &inner.shape, false, found),
                    None => found.push(format!("{place}: there is no block {name}")),
                }
            }
        }
    }
    let times = |name: &str| seen.get(name).copied().unwrap_or(0);
    for (name, _) in shape.arguments.iter().filter(|(name, is)| **is == Use::Required && times(name) == 0) {
        found.push(format!("{place}: {name} is missing"));
    }
    for (name, inner) in &shape.blocks {
        if times(name) < inner.least {
            found.push(format!("{place}: block {name} is missing"));
        }
        if inner.most > 0 && times(name) > inner.most {
            found.push(format!("{place}: block {name} is there {} times, at most {}", times(name), inner.most));
        }
    }
}

/// A block's name and content; a `dynamic` one stands for the block that it makes.
fn unfolded(block: &Block) -> (&str, &Body) {
    let content = block.body().blocks().find(|inner| inner.identifier() == "content");
    match (block.identifier(), block.labels(), content) {
        ("dynamic", [name], Some(content)) => (name.as_str(), content.body()),
        (name, ..) => (name, block.body()),
    }
}

#[test]
fn the_module_sets_what_the_provider_takes() {
    let schema = committed();
    for (name, body) in module() {
        assert_eq!(problems(&body, &schema), Vec::<String>::new(), "{name}");
    }
    let known: Vec<&String> = schema.resources.keys().collect();
    assert_eq!(types_used().iter().collect::<Vec<_>>(), known, "the schema holds what is used and no more");
}

#[test]
fn each_kind_of_mistake_is_told() {
    let schema = committed();
    let (group, workspace) = ("azurerm_resource_group", "azurerm_log_analytics_workspace");
    let (named, placed) = ("name = \"a\"\nlocation = \"b\"\n", "resource_group_name = \"c\"\n");
    let rows = [
        (group, format!("{named}tags = {{}}"), ""),
        (group, format!("{named}count = 2\nlifecycle {{ prevent_destroy = true }}"), ""),
        (group, format!("{named}tgas = {{}}"), "azurerm_resource_group.x: there is no argument tgas"),
        (group, "name = \"a\"".to_owned(), "azurerm_resource_group.x: location is missing"),
        (group, format!("{named}tag {{}}"), "azurerm_resource_group.x: there is no block tag"),
        (
            group,
            format!("{named}timeouts {{\ncreat = \"1m\"\n}}"),
            "azurerm_resource_group.x.timeouts: there is no argument creat",
        ),
        (
            group,
            format!("{named}timeouts {{}}\ntimeouts {{}}"),
            "azurerm_resource_group.x: block timeouts is there 2 times, at most 1",
        ),
        (workspace, format!("{named}{placed}"), ""),
        (
            workspace,
            format!("{named}{placed}workspace_id = \"d\""),
            "azurerm_log_analytics_workspace.x: workspace_id is not to be set",
        ),
        (
            workspace,
            format!("{named}{placed}dynamic \"idntity\" {{\nfor_each = []\ncontent {{}}\n}}"),
            "azurerm_log_analytics_workspace.x: there is no block idntity",
        ),
        (
            workspace,
            format!("{named}{placed}dynamic \"identity\" {{\nfor_each = []\ncontent {{}}\n}}"),
            "azurerm_log_analytics_workspace.x.identity: type is missing",
        ),
        (
            "azurerm_resource_gruop",
            named.to_owned(),
            "azurerm_resource_gruop.x: the schema has no azurerm_resource_gruop",
        ),
    ];
    for (kind, body, words) in rows {
        let text = format!("resource \"{kind}\" \"x\" {{\n{body}\n}}");
        let told = problems(&hcl::parse(&text).expect("it is HCL"), &schema);
        assert_eq!(told.join("; "), words, "{text}");
    }
}

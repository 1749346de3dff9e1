//! The repository as the rules see it: files, their tokens, and which of their lines are tests.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::{fs, iter};

use proc_macro2::{Delimiter, TokenStream, TokenTree};
use syn::spanned::Spanned;
use syn::visit::{self, Visit};

/// Everything the rules read. Paths are relative to the root, with `/`.
pub(crate) struct Tree {
    /// Entries of the root folder, without what `.gitignore` names there.
    pub(crate) top_level: Vec<String>,
    pub(crate) rust: Vec<Source>,
    /// `(path, text)` of every `Cargo.toml`.
    pub(crate) manifests: Vec<(String, String)>,
    /// `(path, text)` of every other text file: documents, scripts, settings.
    pub(crate) texts: Vec<(String, String)>,
}

/// One Rust file.
pub(crate) struct Source {
    pub(crate) path: String,
    pub(crate) text: String,
    /// Every function with a body, wherever it is nested.
    pub(crate) functions: Vec<Function>,
    /// All tokens in order, macro bodies included, comments and doc comments excluded.
    pub(crate) tokens: Vec<Token>,
    /// Inclusive line ranges compiled only for tests; everything, in a test file.
    test_lines: Vec<(usize, usize)>,
    /// Modules in files of their own that are compiled only for tests.
    test_modules: Vec<String>,
}

/// A function's name and the lines from its signature to its last brace.
pub(crate) struct Function {
    pub(crate) name: String,
    pub(crate) first_line: usize,
    pub(crate) last_line: usize,
}

/// An identifier, a literal, one punctuation character or one bracket.
#[derive(Clone, Debug)]
pub(crate) struct Token {
    pub(crate) text: String,
    pub(crate) line: usize,
}

impl Tree {
    /// This repository, read once.
    pub(crate) fn of_this_repository() -> &'static Self {
        static TREE: OnceLock<Tree> = OnceLock::new();
        TREE.get_or_init(|| {
            let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("cli/ is in the root");
            Self::read(root)
        })
    }

    /// A tree made up for a self-test; `.rs`, `Cargo.toml` and other paths go where they belong.
    pub(crate) fn of(files: &[(&str, &str)]) -> Self {
        let mut tree = Self::empty();
        for (path, text) in files {
            tree.add((*path).to_owned(), (*text).to_owned());
        }
        tree.mark_test_modules();
        tree
    }

    const fn empty() -> Self {
        Self { top_level: vec![], rust: vec![], manifests: vec![], texts: vec![] }
    }

    fn read(root: &Path) -> Self {
        let mut tree = Self::empty();
        let ignored = ignored_at_root(root);
        for name in sorted_entries(root) {
            if name == ".git" || ignored.contains(&name) {
                continue;
            }
            tree.top_level.push(name.clone());
            tree.walk(root, &name);
        }
        tree.mark_test_modules();
        tree
    }

    fn walk(&mut self, root: &Path, relative: &str) {
        let path = root.join(relative);
        if path.is_dir() {
            for name in sorted_entries(&path) {
                // Build output of an excluded workspace (the fuzz targets) is nobody's source.
                if !matches!(name.as_str(), "target" | "corpus" | "artifacts") {
                    self.walk(root, &format!("{relative}/{name}"));
                }
            }
        } else if let Ok(text) = fs::read_to_string(&path) {
            self.add(relative.to_owned(), text);
        }
    }

    fn add(&mut self, path: String, text: String) {
        if Path::new(&path).extension().is_some_and(|e| e == "rs") {
            self.rust.push(Source::parse(path, text));
        } else if path.ends_with("Cargo.toml") {
            self.manifests.push((path, text));
        } else {
            self.texts.push((path, text));
        }
    }

    /// `#[cfg(test)] mod x;` makes the other file a test, and all modules below it.
    fn mark_test_modules(&mut self) {
        let mut roots: BTreeSet<String> = BTreeSet::new();
        for source in &self.rust {
            let folder = source.module_folder();
            roots.extend(source.test_modules.iter().map(|module| format!("{folder}/{module}")));
        }
        for source in &mut self.rust {
            let stem = source.path.trim_end_matches(".rs");
            if roots.iter().any(|r| stem == r || stem.starts_with(&format!("{r}/"))) {
                source.test_lines = vec![(1, usize::MAX)];
            }
        }
    }
}

impl Source {
    fn parse(path: String, text: String) -> Self {
        let syntax = syn::parse_file(&text).unwrap_or_else(|e| panic!("{path}: {e}"));
        let stream: TokenStream = text.parse().expect("syn has parsed it");
        let mut tokens = Vec::new();
        flatten(stream, &mut tokens);
        let mut digest = Digest::default();
        digest.visit_file(&syntax);
        if path.split('/').any(|part| part == "tests") || path.ends_with("/tests.rs") {
            digest.test_lines = vec![(1, usize::MAX)];
        }
        let Digest { functions, test_lines, test_modules } = digest;
        Self { path, text, functions, tokens, test_lines, test_modules }
    }

    /// Whether the line is compiled only into tests.
    pub(crate) fn is_test(&self, line: usize) -> bool {
        self.test_lines.iter().any(|&(first, last)| (first..=last).contains(&line))
    }

    /// Whether the whole file is a test.
    pub(crate) fn is_test_file(&self) -> bool {
        self.is_test(usize::MAX)
    }

    /// Whether the file lies in one of the folders, or is `<folder>.rs` itself.
    pub(crate) fn is_in(&self, folders: &[&str]) -> bool {
        folders.iter().any(|folder| {
            let rest = self.path.strip_prefix(folder);
            rest.is_some_and(|rest| rest.starts_with('/') || rest == ".rs")
        })
    }

    /// Positions in `tokens` where the given texts follow one another, outside tests.
    pub(crate) fn product_hits<'a>(
        &'a self,
        sequence: &'a [&'a str],
    ) -> impl Iterator<Item = usize> + 'a {
        self.hits(sequence).filter(|&at| !self.is_test(self.tokens[at].line))
    }

    /// Positions in `tokens` where the given texts follow one another.
    pub(crate) fn hits<'a>(&'a self, sequence: &'a [&'a str]) -> impl Iterator<Item = usize> + 'a {
        self.tokens.windows(sequence.len()).enumerate().filter_map(move |(at, window)| {
            iter::zip(window, sequence).all(|(token, want)| token.text == *want).then_some(at)
        })
    }

    /// Lines that name `krate::name`, or `name` on the first level of a `use krate::{..}`.
    pub(crate) fn names_of_crate(&self, krate: &str, name: &str) -> Vec<usize> {
        let inline = [krate, ":", ":", name];
        let grouped = ["use", krate, ":", ":", "{"];
        let mut hits: Vec<usize> = self.hits(&inline).collect();
        hits.extend(self.hits(&grouped).filter(|&at| {
            let mut depth = 0_usize;
            let mut group = self.tokens[at + 4..].iter().take_while(|token| {
                depth = match token.text.as_str() {
                    "{" => depth + 1,
                    "}" => depth - 1,
                    _ => depth,
                };
                depth > 0
            });
            group.any(|token| token.text == name)
        }));
        hits.into_iter().map(|at| self.tokens[at].line).collect()
    }

    /// Where a module declared in this file is looked for.
    fn module_folder(&self) -> String {
        let (folder, name) = self.path.rsplit_once('/').unwrap_or(("", &self.path));
        match name {
            "lib.rs" | "main.rs" | "mod.rs" => folder.to_owned(),
            _ => format!("{folder}/{}", name.trim_end_matches(".rs")),
        }
    }
}

/// What is kept of a syntax tree, which itself can't be shared between test threads.
#[derive(Default)]
struct Digest {
    functions: Vec<Function>,
    test_lines: Vec<(usize, usize)>,
    test_modules: Vec<String>,
}

impl Digest {
    fn add_function(&mut self, signature: &syn::Signature, block: &syn::Block) {
        self.functions.push(Function {
            name: signature.ident.to_string(),
            first_line: signature.span().start().line,
            last_line: block.brace_token.span.close().end().line,
        });
    }
}

impl<'ast> Visit<'ast> for Digest {
    fn visit_item(&mut self, item: &'ast syn::Item) {
        let attributes: &[syn::Attribute] = match item {
            syn::Item::Const(i) => &i.attrs,
            syn::Item::Enum(i) => &i.attrs,
            syn::Item::Fn(i) => &i.attrs,
            syn::Item::Impl(i) => &i.attrs,
            syn::Item::Macro(i) => &i.attrs,
            syn::Item::Mod(i) => &i.attrs,
            syn::Item::Static(i) => &i.attrs,
            syn::Item::Struct(i) => &i.attrs,
            syn::Item::Use(i) => &i.attrs,
            _ => &[],
        };
        if is_test_only(attributes) {
            self.test_lines.push((item.span().start().line, item.span().end().line));
            if let syn::Item::Mod(module) = item
                && module.content.is_none()
            {
                self.test_modules.push(module.ident.to_string());
            }
        }
        visit::visit_item(self, item);
    }

    fn visit_item_fn(&mut self, function: &'ast syn::ItemFn) {
        self.add_function(&function.sig, &function.block);
        visit::visit_item_fn(self, function);
    }

    fn visit_impl_item_fn(&mut self, function: &'ast syn::ImplItemFn) {
        if is_test_only(&function.attrs) {
            self.test_lines.push((function.span().start().line, function.span().end().line));
        }
        self.add_function(&function.sig, &function.block);
        visit::visit_impl_item_fn(self, function);
    }

    fn visit_trait_item_fn(&mut self, function: &'ast syn::TraitItemFn) {
        if let Some(block) = &function.default {
            self.add_function(&function.sig, block);
        }
        visit::visit_trait_item_fn(self, function);
    }
}

/// `#[test]` or `#[cfg(test)]`, alone or inside `all(..)`.
fn is_test_only(attributes: &[syn::Attribute]) -> bool {
    attributes.iter().any(|attribute| match &attribute.meta {
        syn::Meta::Path(path) => path.is_ident("test"),
        syn::Meta::List(list) if list.path.is_ident("cfg") => {
            let condition = list.tokens.to_string();
            condition == "test" || condition.starts_with("all") && condition.contains("test")
        }
        _ => false,
    })
}

fn flatten(stream: TokenStream, into: &mut Vec<Token>) {
    for tree in stream {
        let line = tree.span().start().line;
        let TokenTree::Group(group) = tree else {
            into.push(Token { text: tree.to_string(), line });
            continue;
        };
        if is_doc_attribute(&group) {
            // A doc comment arrives as `#[doc = ".."]`; drop it with its `#`.
            into.pop();
            continue;
        }
        let (open, close) = match group.delimiter() {
            Delimiter::Parenthesis => ("(", ")"),
            Delimiter::Brace => ("{", "}"),
            Delimiter::Bracket => ("[", "]"),
            Delimiter::None => ("", ""),
        };
        into.push(Token { text: open.to_owned(), line });
        flatten(group.stream(), into);
        let line = group.span_close().start().line;
        into.push(Token { text: close.to_owned(), line });
    }
}

fn is_doc_attribute(group: &proc_macro2::Group) -> bool {
    group.delimiter() == Delimiter::Bracket
        && matches!(group.stream().into_iter().next(), Some(TokenTree::Ident(i)) if i == "doc")
}

fn sorted_entries(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    let mut names: Vec<String> =
        entries.filter_map(|e| e.ok()?.file_name().into_string().ok()).collect();
    names.sort();
    names
}

fn ignored_at_root(root: &Path) -> BTreeSet<String> {
    let path: PathBuf = root.join(".gitignore");
    let text = fs::read_to_string(path).unwrap_or_default();
    text.lines().filter_map(|line| line.strip_prefix('/')).map(str::to_owned).collect()
}

mod tests {
    use super::{Source, Tree};

    fn source(path: &str, text: &str) -> Source {
        Source::parse(path.to_owned(), text.to_owned())
    }

    #[test]
    fn tokens_leave_comments_out_and_macro_bodies_in() {
        let file = source("a.rs", "/// glommio\n// glommio\nm! { glommio::x }\n");
        let hits: Vec<usize> = file.hits(&["glommio"]).map(|at| file.tokens[at].line).collect();
        assert_eq!(hits, [3]);
    }

    #[test]
    fn test_code_is_told_from_product_code() {
        let file =
            source("engine/src/a.rs", "fn a() {}\n#[cfg(test)]\nmod tests {\nfn b() {}\n}\n");
        assert_eq!(
            (1..=6).map(|line| file.is_test(line)).collect::<Vec<_>>(),
            [false, true, true, true, true, false]
        );
        assert!(source("cli/tests/x.rs", "").is_test_file());
    }

    #[test]
    fn a_module_declared_for_tests_is_a_test_file() {
        let tree = Tree::of(&[
            ("engine/src/log.rs", "#[cfg(test)]\nmod model;\nmod real;"),
            ("engine/src/log/model.rs", "fn a() {}"),
            ("engine/src/log/model/deep.rs", "fn a() {}"),
            ("engine/src/log/real.rs", "fn a() {}"),
        ]);
        let tests: Vec<bool> = tree.rust.iter().map(Source::is_test_file).collect();
        assert_eq!(tests, [false, true, true, false]);
    }

    #[test]
    fn a_folder_is_not_its_namesake() {
        let inside = |path| source(path, "").is_in(&["engine/src/rt"]);
        assert!(inside("engine/src/rt/sim.rs") && inside("engine/src/rt.rs"));
        assert!(!inside("engine/src/rtx/sim.rs"));
    }
}

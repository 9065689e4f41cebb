//! Prints the JSON schema of scenario files: `docs/scenario.schema.json`.

fn main() -> serde_json::Result<()> {
    println!("{}", serde_json::to_string_pretty(&scenario::schema::schema())?);
    Ok(())
}

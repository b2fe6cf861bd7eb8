//! Making a table as the templates do, for tests and for a first start without them.

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::{
    AttributeDefinition, BillingMode, KeySchemaElement, KeyType, ScalarAttributeType,
    StreamSpecification, StreamViewType, TableStatus, TimeToLiveSpecification, TimeToLiveStatus,
};
use kernel::table::TableError;

use super::fault::{pause, refusal, unbuilt};

/// Looks at a table that is being made, about a second apart after the first few.
const LOOKS_MAX: u32 = 60;

/// Makes the table `name` unless it is there, and waits until it can be used: on demand, with
/// deletion of what has expired, and a stream of new images for the relay.
pub async fn create(client: &Client, name: &str) -> Result<(), TableError> {
    make(client, name).await?;
    for round in 0..LOOKS_MAX {
        let found = client.describe_table().table_name(name).send().await;
        let found = found.map_err(|error| refusal(&error))?;
        let status = found.table().and_then(|table| table.table_status());
        if status == Some(&TableStatus::Active) {
            return expire(client, name).await;
        }
        if !pause(round).await {
            break;
        }
    }
    Err(TableError::Unavailable(format!("the table {name} does not become active")))
}

async fn make(client: &Client, name: &str) -> Result<(), TableError> {
    let stream = StreamSpecification::builder()
        .stream_enabled(true)
        .stream_view_type(StreamViewType::NewImage)
        .build()
        .map_err(|error| unbuilt(&error))?;
    let mut request = client
        .create_table()
        .table_name(name)
        .billing_mode(BillingMode::PayPerRequest)
        .stream_specification(stream);
    for (attribute, role) in [("pk", KeyType::Hash), ("sk", KeyType::Range)] {
        let definition = AttributeDefinition::builder()
            .attribute_name(attribute)
            .attribute_type(ScalarAttributeType::S)
            .build();
        let element = KeySchemaElement::builder().attribute_name(attribute).key_type(role).build();
        request = request
            .attribute_definitions(definition.map_err(|error| unbuilt(&error))?)
            .key_schema(element.map_err(|error| unbuilt(&error))?);
    }
    match request.send().await {
        Ok(_) => Ok(()),
        Err(error) => match error.as_service_error() {
            Some(service) if service.is_resource_in_use_exception() => Ok(()),
            _ => Err(refusal(&error)),
        },
    }
}

async fn expire(client: &Client, name: &str) -> Result<(), TableError> {
    let found = client.describe_time_to_live().table_name(name).send().await;
    let found = found.map_err(|error| refusal(&error))?;
    let status = found.time_to_live_description().and_then(|found| found.time_to_live_status());
    if matches!(status, Some(TimeToLiveStatus::Enabled | TimeToLiveStatus::Enabling)) {
        return Ok(());
    }
    let wanted = TimeToLiveSpecification::builder().enabled(true).attribute_name("exp").build();
    client
        .update_time_to_live()
        .table_name(name)
        .time_to_live_specification(wanted.map_err(|error| unbuilt(&error))?)
        .send()
        .await
        .map_err(|error| refusal(&error))?;
    Ok(())
}

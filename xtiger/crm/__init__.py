"""CRM adapters: any SQLAlchemy models, and XTiger's own small CRM."""

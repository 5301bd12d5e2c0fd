"""Admin pages of companies, site addresses, the BI, data sources and jobs. Django imports this package; each module
registers its pages."""

from integrations.admin import bi, companies, datasources, jobs, site_address

__all__ = ["bi", "companies", "datasources", "jobs", "site_address"]

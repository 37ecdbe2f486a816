"""Triage: options compared under one plan, and what that writes."""

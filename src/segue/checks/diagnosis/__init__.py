"""Diagnosis checks (SG2xx): why is the result not better?"""

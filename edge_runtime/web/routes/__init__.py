"""The endpoints of the page and the API, one module per subject.

Each module has a class with `endpoints`; `edge_runtime.web.app` lists these classes.
"""

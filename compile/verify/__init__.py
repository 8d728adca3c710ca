"""Verification: is the compiled network equal to the original, and faster?"""

"""Servers that speak the OpenAI protocol over HTTP.

Inside, imports run endpoint > answer_reader, model_list, body* > errors, chunks, sse > error_body.
"""

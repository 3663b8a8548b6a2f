"""What the rows of a frame ask: templates, row values, requests, and the plan of distinct requests.

Inside, imports run plan > requests > values > template.
"""
